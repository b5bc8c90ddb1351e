// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/ini.h"

#include <ini.h>

#include <algorithm>
#include <cstring>

#include "cloudbus/app/config/values.h"

namespace cloudbus {
namespace {

constexpr std::size_t kMostErrors = 100;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\v\f\r";
  std::size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

bool is_comment(std::string_view line) { return line.starts_with(';') || line.starts_with('#'); }

// Walks over the text and hands inih one line with a key at a time.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
    if (rest_.starts_with(kByteOrderMark)) rest_.remove_prefix(kByteOrderMark.size());
  }

  IniText read() {
    ini_parse_stream(next_line, this, on_key, this);
    settle();
    return std::move(result_);
  }

 private:
  // Callbacks of inih. The handler is called before the next line is asked for, so that the line is known.
  static char* next_line(char* out, int size, void* self) noexcept {
    return static_cast<Reader*>(self)->next_line(out, static_cast<std::size_t>(size));
  }
  static int on_key(void* self, const char*, const char* key, const char* value) noexcept {
    static_cast<Reader*>(self)->on_key(key, value ? value : "");
    return 1;
  }

  char* next_line(char* out, std::size_t size) {
    settle();
    const std::size_t most = size - 2;  // behind the line stand its end and a NUL
    while (!rest_.empty() && !gave_up_) {
      // Trimmed: to inih, a line that begins with a space continues the one before.
      std::string_view line = trimmed(take_line());
      if (line.empty() || is_comment(line)) continue;
      if (line.find('\0') != std::string_view::npos) {
        damage("this line holds a NUL byte; a configuration is text");
      } else if (line.starts_with('[')) {
        open_section(line.substr(1));
      } else if (line.size() > most) {
        damage("this line has " + std::to_string(line.size()) + " bytes; at most " + std::to_string(most) +
               " are allowed");
      } else {
        std::memcpy(out, line.data(), line.size());
        std::memcpy(out + line.size(), "\n", 2);
        waiting_ = true;
        return out;
      }
    }
    return nullptr;
  }

  std::string_view take_line() {
    ++result_.lines;
    std::size_t end = std::min(rest_.find('\n'), rest_.size());
    std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return line;
  }

  void open_section(std::string_view header) {
    std::size_t end = header.find(']');
    result_.sections.push_back({std::string(trimmed(header.substr(0, end))), result_.lines, false, {}});
    if (end == std::string_view::npos) return damage("this section's [ has no ]; write [NAME]");
    std::string_view behind = trimmed(header.substr(end + 1));
    if (behind.empty() || is_comment(behind)) return;
    damage("text stands behind the section's ]; only a comment is allowed there");
  }

  void on_key(std::string_view key, std::string_view value) {
    waiting_ = false;
    if (result_.sections.empty()) {
      return damage("the key " + quoted(key) + " stands before any section; begin with [Cloudbus] or with [SERVICE]");
    }
    result_.sections.back().entries.push_back({std::string(key), std::string(value), result_.lines});
  }

  // inih keeps to itself that a line had no key.
  void settle() {
    if (!waiting_) return;
    waiting_ = false;
    damage("this line is not understood; allowed are [SECTION], KEY = VALUE, and comments behind a ; or #");
  }

  void damage(std::string text) {
    if (!result_.sections.empty()) result_.sections.back().damaged = true;
    result_.errors.push_back({result_.lines, std::move(text)});
    if (result_.errors.size() < kMostErrors || rest_.empty()) return;
    gave_up_ = true;
    result_.errors.push_back({result_.lines, "there are too many errors; the lines behind this one were not read"});
  }

  std::string_view rest_;
  IniText result_;
  bool waiting_ = false;  // inih has a line of which it has said nothing yet
  bool gave_up_ = false;
};

}  // namespace

IniText read_ini(std::string_view text) { return Reader(text).read(); }

}  // namespace cloudbus
