// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/substitution.h"

#include <regex.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cloudbus/core/names/regex_bounds.h"

namespace cloudbus {
namespace {

constexpr std::size_t kGroups = 10;  // the whole match, and \1 to \9

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_group_number(char c) { return c >= '1' && c <= '9'; }
bool is_flag(char c) { return c == 'i' || c == 'I'; }

struct Parts {
  std::string pattern, replacement;
  bool ignores_case = false;
};

// Takes the text before the next delimiter, and the delimiter.
std::optional<std::string> take_part(std::string_view& rest, char delimiter) {
  std::string part;
  for (std::size_t i = 0; i < rest.size(); i++) {
    if (rest[i] == delimiter) {
      rest.remove_prefix(i + 1);
      return part;
    }
    if (rest[i] == '\\' && i + 1 < rest.size()) {
      if (rest[i + 1] != delimiter) part += '\\';
      i++;
    }
    part += rest[i];
  }
  return std::nullopt;
}

// Returns what is wrong with the expression, or nothing.
std::string split(std::string_view expression, Parts& parts) {
  if (expression.size() > kMaxExpression) return "the expression is too long";
  if (expression.empty()) return "the expression is empty";
  if (expression.find('\0') != std::string_view::npos) return "the expression holds a NUL byte";
  const char delimiter = expression[0];
  if (is_digit(delimiter) || is_flag(delimiter) || delimiter == '\\') return "the expression begins with no delimiter";
  expression.remove_prefix(1);
  auto pattern = take_part(expression, delimiter);
  auto replacement = pattern ? take_part(expression, delimiter) : std::nullopt;
  if (!replacement) return "the expression lacks a delimiter";
  if (!std::ranges::all_of(expression, is_flag)) return "unknown flags behind the expression";
  parts = {std::move(*pattern), std::move(*replacement), !expression.empty()};
  return {};
}

// A compiled regular expression.
class Regex {
 public:
  explicit Regex(const Parts& parts)
      : code_(regcomp(&regex_, parts.pattern.c_str(), REG_EXTENDED | (parts.ignores_case ? REG_ICASE : 0))) {}
  ~Regex() {
    if (code_ == 0) regfree(&regex_);
  }
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  std::string error() const {
    if (code_ == 0) return {};
    char text[100];
    regerror(code_, &regex_, text, sizeof text);
    return std::string("the regular expression is invalid: ") + text;
  }

  // The whole match and its groups, empty for groups that took no part; nothing if the expression does not match.
  std::vector<std::string_view> match(const std::string& subject) const {
    regmatch_t found[kGroups];
    if (regexec(&regex_, subject.c_str(), kGroups, found, 0) != 0) return {};
    std::vector<std::string_view> groups(std::min(regex_.re_nsub + 1, kGroups));
    for (std::size_t i = 0; i < groups.size(); i++) {
      if (found[i].rm_so < 0) continue;
      auto begin = static_cast<std::size_t>(found[i].rm_so), end = static_cast<std::size_t>(found[i].rm_eo);
      groups[i] = std::string_view(subject).substr(begin, end - begin);
    }
    return groups;
  }

 private:
  regex_t regex_;
  int code_;
};

// Nothing if a backslash stands before anything but a backslash or the number of a group that exists.
std::optional<std::string> fill(std::string_view replacement, std::span<const std::string_view> groups) {
  std::string result;
  for (std::size_t i = 0; i < replacement.size(); i++) {
    if (replacement[i] != '\\') {
      result += replacement[i];
      continue;
    }
    const char escaped = ++i < replacement.size() ? replacement[i] : '\0';
    const auto group = static_cast<std::size_t>(escaped - '0');
    if (escaped == '\\') {
      result += escaped;
    } else if (is_group_number(escaped) && group < groups.size()) {
      result += groups[group];
    } else {
      return std::nullopt;
    }
  }
  return result;
}

Substitution failed(std::string error) { return {{}, std::move(error)}; }

}  // namespace

Substitution substitute(std::string_view expression, const std::string& subject) {
  if (subject.size() > kMaxSubject) return failed("the text that is matched is too long");
  Parts parts;
  if (std::string error = split(expression, parts); !error.empty()) return failed(std::move(error));
  if (std::string error = regex_bounds_error(parts.pattern); !error.empty()) return failed(std::move(error));
  Regex regex(parts);
  if (std::string error = regex.error(); !error.empty()) return failed(std::move(error));
  auto groups = regex.match(subject);
  if (groups.empty()) return {};
  auto result = fill(parts.replacement, groups);
  if (!result) return failed("a backslash in the replacement stands before no group's number");
  if (result->size() > kMaxSubstitution) return failed("the result is too long");
  return {std::move(*result), {}};
}

}  // namespace cloudbus
