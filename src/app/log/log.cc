// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/log/log.h"

#include <fmt/format.h>
#include <poll.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <nlohmann/json.hpp>

#include "cloudbus/core/base/utf8.h"

namespace cloudbus {
namespace {

// Collects the lines of a turn and writes them at once.
class StderrSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  bool is_waiting() const { return waiting_.load(std::memory_order_relaxed); }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    formatter_->format(message, buffer_);
    waiting_.store(true, std::memory_order_relaxed);
  }

  void flush_() override {
    waiting_.store(false, std::memory_order_relaxed);
    const char* rest = buffer_.data();
    std::size_t left = buffer_.size();
    while (left > 0) {
      ssize_t put = ::write(STDERR_FILENO, rest, left);
      if (put < 0 && errno == EAGAIN) {  // somebody made standard error non-blocking
        pollfd writable{STDERR_FILENO, POLLOUT, 0};
        ::poll(&writable, 1, -1);
      } else if (put < 0 && errno != EINTR) {
        break;  // nobody is left to be told
      }
      if (put > 0) {
        rest += put;
        left -= static_cast<std::size_t>(put);
      }
    }
    buffer_.clear();
  }

 private:
  spdlog::memory_buf_t buffer_;
  std::atomic<bool> waiting_ = false;
};

struct Log {
  std::shared_ptr<StderrSink> sink = std::make_shared<StderrSink>();
  spdlog::logger logger{"cloudbus", sink};
  std::atomic<LogFormat> format = LogFormat::Text;  // other threads may be writing lines
  bool has_started = false;
};

Log& the_log() {
  static Log log;
  return log;
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::Trace: return spdlog::level::trace;
    case LogLevel::Debug: return spdlog::level::debug;
    case LogLevel::Info: return spdlog::level::info;
    case LogLevel::Warning: return spdlog::level::warn;
    case LogLevel::Error: return spdlog::level::err;
    case LogLevel::Off: return spdlog::level::off;
  }
  return spdlog::level::off;
}

// Characters that would end a line of the log or turn the direction of writing, so that it reads as something else.
bool is_deceptive(char32_t code) {
  return is_control(code) || (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x206f);
}

std::int64_t tenths_of_ms(Duration time) { return (time.count() + 50) / 100; }

// A line for each conversation is most of what a short conversation costs outside of the kernel: its parts are written
// in place.
using Line = fmt::memory_buffer;

void append(Line& line, std::string_view text) { line.append(text.data(), text.data() + text.size()); }
void append(Line& line, const fmt::format_int& number) { line.append(number.data(), number.data() + number.size()); }

// The characters that stand as they are: ASCII that is seen, and does not end a value.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (int character = '!'; character <= '~'; character++)
    plain[static_cast<std::size_t>(character)] = character != '"' && character != '\\' && character != '=';
  return plain;
}();

void append_value(Line& line, std::string_view value) {
  auto is_plain = [](char character) { return kPlain[static_cast<unsigned char>(character)]; };
  bool plain = !value.empty() && std::all_of(value.begin(), value.end(), is_plain);
  plain ? append(line, value) : append(line, escape_value(value));
}

struct AsText {
  Line& line;
  void operator()(std::string_view text) const { append_value(line, text); }
  void operator()(std::uint64_t number) const { append(line, fmt::format_int(number)); }
  void operator()(Duration time) const {
    std::int64_t tenths = tenths_of_ms(time);
    append(line, fmt::format_int(tenths / 10));
    char rest[] = {'.', static_cast<char>('0' + tenths % 10), 'm', 's'};
    append(line, {rest, sizeof rest});
  }
  void operator()(const Uuid& uuid) const { append(line, to_string(uuid)); }
};

struct AsJson {
  nlohmann::ordered_json operator()(std::string_view text) const { return text; }
  nlohmann::ordered_json operator()(std::uint64_t number) const { return number; }
  nlohmann::ordered_json operator()(Duration time) const { return static_cast<double>(tenths_of_ms(time)) / 10; }
  nlohmann::ordered_json operator()(const Uuid& uuid) const { return to_string(uuid); }
};

void append_text(Line& line, std::string_view subject, std::string_view message, std::span<const Field> fields) {
  append_value(line, subject);
  if (!message.empty()) {
    append(line, " ");
    append(line, message);
  }
  for (const Field& field : fields) {
    append(line, " ");
    append(line, field.key);
    append(line, "=");
    std::visit(AsText{line}, field.value);
  }
}

// The inside of an object, to which the pattern adds the time and the level.
void append_json(Line& line, std::string_view subject, std::string_view message, std::span<const Field> fields) {
  nlohmann::ordered_json object;
  object["subject"] = subject;
  object["message"] = message;
  for (const Field& field : fields) object[std::string(field.key)] = std::visit(AsJson{}, field.value);
  std::string text = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  append(line, std::string_view(text).substr(1, text.size() - 2));
}

}  // namespace

std::string escape_value(std::string_view value) {
  std::string out;
  bool quote = value.empty();
  for (std::size_t i = 0; i < value.size();) {
    auto byte = static_cast<unsigned char>(value[i]);
    auto [length, code] = utf8_character(value.substr(i));
    if (length == 0 || is_deceptive(code)) {
      quote = true;
      out += byte == '\n' ? "\\n" : fmt::format("\\x{:02X}", byte);
      i++;
      continue;
    }
    if (byte == '"' || byte == '\\') out += '\\';
    if (byte == '"' || byte == '\\' || byte == ' ' || byte == '=') quote = true;
    out.append(value.substr(i, length));
    i += length;
  }
  return quote ? '"' + out + '"' : out;
}

void log_start(LogLevel level, LogFormat format) {
  Log& log = the_log();
  log.logger.set_level(spdlog_level(level));
  if (log.format.exchange(format) == format && log.has_started) return;
  log.has_started = true;
  bool journal = std::getenv("JOURNAL_STREAM") != nullptr && !::isatty(STDERR_FILENO);
  std::string pattern = format == LogFormat::Json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})"
                        : journal                 ? "%l %v"
                                                  : "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
  log.logger.set_formatter(std::make_unique<spdlog::pattern_formatter>(pattern, spdlog::pattern_time_type::utc));
}

bool log_enabled(LogLevel level) { return the_log().logger.should_log(spdlog_level(level)); }

void log_line(LogLevel level, std::string_view subject, std::string_view message, std::span<const Field> fields) {
  if (!log_enabled(level)) return;
  Log& log = the_log();
  Line line;
  log.format == LogFormat::Json ? append_json(line, subject, message, fields)
                                : append_text(line, subject, message, fields);
  log.logger.log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
}

void log_flush() {
  Log& log = the_log();
  if (log.sink->is_waiting()) log.logger.flush();
}

}  // namespace cloudbus
