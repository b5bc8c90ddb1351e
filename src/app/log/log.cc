// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/log/log.h"

#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "cloudbus/app/log/log_buffer.h"
#include "cloudbus/app/log/standard_error.h"
#include "cloudbus/core/base/utf8.h"

namespace cloudbus {
namespace {

thread_local std::string_view subject_of_line;  // of the line that log_line() hands to the logger

// Collects the lines of a turn and writes them at once.
class StderrSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  bool is_waiting() const { return waiting_.load(std::memory_order_relaxed); }
  // How many lines there was no room for since the last call, once there is room again.
  std::uint64_t take_lost() {
    const std::lock_guard lock(mutex_);
    return lines_.is_empty() ? lines_.take_lost() : 0;
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    line_.clear();
    formatter_->format(message, line_);
    lines_.add(subject_of_line, {line_.data(), line_.size()});
    waiting_.store(true, std::memory_order_relaxed);
  }

  void flush_() override { waiting_.store(!out_.write(lines_), std::memory_order_relaxed); }

 private:
  LogBuffer lines_;
  StandardError out_;
  spdlog::memory_buf_t line_;
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
    if (time >= std::chrono::seconds(1)) return seconds(time);
    std::int64_t tenths = tenths_of_ms(time);
    append(line, fmt::format_int(tenths / 10));
    char rest[] = {'.', static_cast<char>('0' + tenths % 10), 'm', 's'};
    append(line, {rest, sizeof rest});
  }
  void seconds(Duration time) const {
    std::int64_t ms = (time.count() + 500) / 1000;
    append(line, fmt::format_int(ms / 1000));
    char rest[] = {'.', digit(ms / 100), digit(ms / 10), digit(ms), 's'};
    append(line, {rest, sizeof rest});
  }
  static char digit(std::int64_t number) { return static_cast<char>('0' + number % 10); }
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

// sd-daemon(3): what a line is worth, "<4>".
class Priority final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& line) override {
    constexpr std::string_view kPriorities[] = {"<7>", "<7>", "<6>", "<4>", "<3>", "<2>", "<7>"};  // by spdlog's level
    std::string_view priority = kPriorities[message.level];
    line.append(priority.data(), priority.data() + priority.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<Priority>(); }
};

// The variable may be a parent's: systemd.exec(5) says what standard error has to be compared with.
bool writes_to_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat info {};
  if (!stream || ::fstat(STDERR_FILENO, &info) != 0) return false;
  return stream == fmt::format("{}:{}", info.st_dev, info.st_ino);
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
  bool is_journal = writes_to_journal();
  std::string pattern = format == LogFormat::Json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})"
                        : is_journal              ? "%l %v"
                                                  : "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  formatter->add_flag<Priority>('*').set_pattern((is_journal ? "%*" : "") + pattern);
  log.logger.set_formatter(std::move(formatter));
}

bool log_enabled(LogLevel level) { return the_log().logger.should_log(spdlog_level(level)); }

void log_line(LogLevel level, std::string_view subject, std::string_view message, std::span<const Field> fields) {
  if (!log_enabled(level)) return;
  Log& log = the_log();
  Line line;
  log.format == LogFormat::Json ? append_json(line, subject, message, fields)
                                : append_text(line, subject, message, fields);
  subject_of_line = subject;
  log.logger.log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
}

bool log_flush() {
  Log& log = the_log();
  if (!log.sink->is_waiting()) return true;
  log.logger.flush();
  if (std::uint64_t lost = log.sink->take_lost()) {
    log_line(LogLevel::Warning, "log", "nobody read the log, or its disk was full; lines were lost", {{"lines", lost}});
    log.logger.flush();
  }
  return !log.sink->is_waiting();
}

void log_finish() {
  constexpr auto kPatience = std::chrono::milliseconds(500), kStep = std::chrono::milliseconds(10);
  for (auto waited = kStep * 0; !log_flush() && waited < kPatience; waited += kStep) std::this_thread::sleep_for(kStep);
}

}  // namespace cloudbus
