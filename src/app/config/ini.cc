// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/ini.h"

#include <fcntl.h>
#include <glob.h>
#include <ini.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cloudbus/app/config/environment.h"
#include "cloudbus/app/config/values.h"

namespace cloudbus {
namespace {

constexpr std::size_t kLineEnd = 2;  // a line's end and a NUL
#ifdef HAVE_INI_MAX_LINE
constexpr std::size_t kLongestLine = 4096;
#else
constexpr std::size_t kLongestLine = INI_MAX_LINE - kLineEnd;
#endif
constexpr std::size_t kMostErrors = 100;
constexpr std::size_t kMostDepth = 16;                     // of files that include files
constexpr std::size_t kMostBytes = std::size_t{16} << 20;  // of all files: more than 100,000 services
constexpr std::string_view kInclude = "include";

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\v\f\r";
  std::size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

bool is_comment(std::string_view line) { return line.starts_with(';') || line.starts_with('#'); }

// Where a pattern is that stands in a file.
std::string beside(const std::string& file, const std::string& pattern) {
  std::size_t slash = file.rfind('/');
  bool is_absolute = pattern.starts_with('/');
  return is_absolute || slash == std::string::npos ? pattern : file.substr(0, slash + 1) + pattern;
}

// The library's own variables, as Debian builds it. On the heap, another one would count.
void allow_long_lines() {
#ifdef HAVE_INI_MAX_LINE
  static std::once_flag once;
  std::call_once(once, [] {
    ini_use_stack = true;
    ini_max_line = static_cast<int>(kLongestLine + kLineEnd);
  });
#endif
}

// What the files say, put together.
class Reading {
 public:
  explicit Reading(const IniFiles& files) : files_(files) {}

  const IniFiles& files() const { return files_; }
  IniText& result() { return result_; }
  bool gave_up() const { return gave_up_; }

  int add_file(const std::string& path) {
    result_.files.push_back(path);
    return static_cast<int>(result_.files.size()) - 1;
  }

  void fail(const SourceLine& line, std::string text, bool has_more, std::string words = {}) {
    result_.errors.push_back({line, std::move(text), std::move(words)});
    if (result_.errors.size() < kMostErrors || !has_more) return;
    gave_up_ = true;
    result_.errors.push_back({line, "there are too many errors; the lines behind this one were not read"});
  }

 private:
  const IniFiles& files_;
  IniText result_;
  bool gave_up_ = false;
};

// Walks over the text of one file and hands inih one line with a key at a time.
class Reader {
 public:
  // `chain`: the files that include each other, this one last. `section`: the one in which the file is included, or
  // none.
  Reader(Reading& reading, std::vector<std::string> chain, std::size_t section)
      : reading_(reading), chain_(std::move(chain)), file_(reading.add_file(chain_.back())), section_(section) {}

  static constexpr std::size_t kNoSection = static_cast<std::size_t>(-1);

  void read(std::string_view text) {
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
    rest_ = text;
    if (rest_.starts_with(kByteOrderMark)) rest_.remove_prefix(kByteOrderMark.size());
    allow_long_lines();
    ini_parse_stream(next_line, this, on_key, this);
    settle();
    if (file_ == 0) reading_.result().lines = line_;
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
    const std::size_t most = size - kLineEnd;
    while (!rest_.empty() && !reading_.gave_up()) {
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
        waiting_ = line;
        return out;
      }
    }
    return nullptr;
  }

  std::string_view take_line() {
    ++line_;
    std::size_t end = std::min(rest_.find('\n'), rest_.size());
    std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return line;
  }

  void open_section(std::string_view header) {
    std::size_t end = header.find(']');
    section_ = reading_.result().sections.size();
    reading_.result().sections.push_back({std::string(trimmed(header.substr(0, end))), here(), false, {}});
    if (end == std::string_view::npos) return damage("this section's [ has no ]; write [NAME]");
    std::string_view behind = trimmed(header.substr(end + 1));
    if (behind.empty() || is_comment(behind)) return;
    damage("text stands behind the section's ]; only a comment is allowed there");
  }

  void on_key(std::string_view key, std::string_view value) {
    waiting_ = {};
    auto expanded = expand_environment(value);
    if (!expanded.value) return damage(std::string(key) + ": " + expanded.error);
    if (normal_word(key) == kInclude) return include(*expanded.value);
    if (section_ == kNoSection) {
      return damage("the key " + quoted(key) + " stands before any section; begin with [Cloudbus] or with [SERVICE]");
    }
    reading_.result().sections[section_].entries.push_back({std::string(key), *expanded.value, here()});
  }

  void include(const std::string& pattern) {
    if (pattern.empty()) return damage("include: the value is missing; write include = PATTERN");
    if (chain_.size() > kMostDepth)
      return damage("include: files include each other more than " + std::to_string(kMostDepth) + " deep");
    for (const std::string& path : reading_.files().find(beside(chain_.back(), pattern))) {
      if (std::ranges::find(chain_, path) != chain_.end()) {
        damage("include: " + path + " includes itself");
        continue;
      }
      std::string text;
      if (std::string error = reading_.files().read(path, text); !error.empty()) {
        damage("include: cannot read " + path + ": " + error);
        continue;
      }
      std::vector<std::string> chain = chain_;
      chain.push_back(path);
      Reader(reading_, std::move(chain), section_).read(text);
    }
  }

  // inih keeps to itself that a line had no key.
  void settle() {
    if (waiting_.empty()) return;
    damage("this line is not understood; allowed are [SECTION], KEY = VALUE, and comments behind a ; or #",
           std::string(std::exchange(waiting_, {})));
  }

  void damage(std::string text, std::string words = {}) {
    if (section_ != kNoSection) reading_.result().sections[section_].damaged = true;
    reading_.fail(here(), std::move(text), !rest_.empty(), std::move(words));
  }

  SourceLine here() const { return {file_, line_}; }

  Reading& reading_;
  std::vector<std::string> chain_;
  int file_;
  std::size_t section_;
  std::string_view rest_;
  int line_ = 0;
  std::string_view waiting_;  // the line that inih has, and has said nothing about yet
};

// Returns the reason of a failure, or nothing. Takes what it reads off `left`.
std::string read_file(const std::string& path, std::string& text, std::size_t& left) {
  int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::strerror(errno);
  std::string error;
  char part[65536];
  while (text.size() <= left) {
    ssize_t size = ::read(file, part, sizeof part);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) error = std::strerror(errno);
    if (size <= 0) break;
    text.append(part, static_cast<std::size_t>(size));
  }
  ::close(file);
  if (text.size() > left) {
    std::string_view what = left == kMostBytes ? "it has" : "it and the files before it have";
    return std::string(what) + " more than " + format_size(kMostBytes) + " bytes";
  }
  left -= text.size();
  return error;
}

std::vector<std::string> find_files(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> paths;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  bool has_wildcard = pattern.find_first_of("*?[") != std::string::npos;
  if (paths.empty() && !has_wildcard) paths.push_back(pattern);  // reading it says what is wrong
  return paths;
}

}  // namespace

std::size_t longest_line() { return kLongestLine; }

IniText read_ini(const std::string& name, std::string_view text, const IniFiles& files) {
  Reading reading(files);
  Reader(reading, {name}, Reader::kNoSection).read(text);
  return std::move(reading.result());
}

IniFiles system_files() {
  auto left = std::make_shared<std::size_t>(kMostBytes);
  return {find_files, [left](const std::string& path, std::string& text) { return read_file(path, text, *left); }};
}

}  // namespace cloudbus
