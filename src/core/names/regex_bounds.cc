// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/regex_bounds.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace cloudbus {
namespace {

constexpr std::size_t kTooMany = kMaxRegexElements + 1;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// A part of an expression.
struct Part {
  std::size_t elements = 0;  // kTooMany stands for all larger numbers
  bool may_be_empty = true;
};

Part sequence(Part one, Part other) {
  return {std::min(one.elements + other.elements, kTooMany), one.may_be_empty && other.may_be_empty};
}

struct Repetition {
  std::size_t copies;  // that regcomp() makes
  bool may_be_none;
};

// Walks through an expression by the grammar of POSIX, "ERE Grammar".
class Walk {
 public:
  explicit Walk(std::string_view expression) : rest_(expression) {}

  std::string error() {
    Part all = alternatives();
    if (all.elements > kMaxRegexElements) return "the regular expression is too large";
    if (repeats_nothing_) return "the regular expression repeats what may be empty";
    if (refers_back_) return "the regular expression refers back to its own groups";
    return {};
  }

 private:
  bool next_is(char c) const { return rest_.starts_with(c); }

  bool take(char c) {
    if (!next_is(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  Part alternatives() {
    Part all = branch();
    while (take('|')) {
      Part other = branch();
      all = {std::min(all.elements + other.elements + 1, kTooMany), all.may_be_empty || other.may_be_empty};
    }
    return all;
  }

  Part branch() {
    Part all;
    while (!rest_.empty() && !next_is('|') && !(depth_ > 0 && next_is(')'))) all = sequence(all, repeated(atom()));
    return all;
  }

  Part repeated(Part part) {
    while (auto repetition = take_repetition()) {
      repeats_nothing_ |= part.may_be_empty;
      part.elements = std::min(part.elements * repetition->copies + 1, kTooMany);
      part.may_be_empty |= repetition->may_be_none;
    }
    return part;
  }

  Part atom() {
    const char c = rest_[0];
    rest_.remove_prefix(1);
    if (c == '(') return group();
    if (c == '[') skip_bracket();
    if (c == '\\') return escaped();
    return {1, c == '^' || c == '$'};
  }

  Part group() {
    depth_++;
    Part inside = alternatives();
    take(')');
    depth_--;
    return sequence({1, true}, inside);
  }

  // A character, or one of the anchors that regcomp(3) of GNU adds.
  Part escaped() {
    if (rest_.empty()) return {1, false};
    const char c = rest_[0];
    rest_.remove_prefix(1);
    refers_back_ |= is_digit(c);
    return {1, std::string_view("<>bB`'").find(c) != std::string_view::npos};
  }

  std::optional<Repetition> take_repetition() {
    if (take('*')) return Repetition{1, true};
    if (take('?')) return Repetition{1, true};
    if (take('+')) return Repetition{2, false};
    return next_is('{') ? take_interval() : std::nullopt;
  }

  // {m}, {m,}, {m,n} or {,n}.
  std::optional<Repetition> take_interval() {
    std::string_view before = rest_;
    take('{');
    std::size_t least = take_number(), most = 0;
    if (take(',')) most = next_is('}') ? least + 1 : take_number();
    if (take('}')) return Repetition{std::max({least, most, std::size_t{1}}), least == 0};
    rest_ = before;
    return std::nullopt;
  }

  // 0 if there is none.
  std::size_t take_number() {
    std::size_t number = 0, digits = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
    if (std::from_chars(rest_.data(), rest_.data() + digits, number).ec == std::errc::result_out_of_range)
      number = kTooMany;
    rest_.remove_prefix(digits);
    return std::min(number, kTooMany);
  }

  // The text after a [, up to its ]. A ] that comes first is a literal, as is one within [: :], [. .] and [= =].
  void skip_bracket() {
    take('^');
    take(']');
    while (!rest_.empty() && !take(']')) {
      std::size_t size = 1;
      for (std::string_view sign : {":", ".", "="}) {
        if (!next_is('[') || !rest_.substr(1).starts_with(sign)) continue;
        std::size_t end = rest_.find(std::string(sign) + ']', 2);
        if (end != std::string_view::npos) size = end + 2;
      }
      rest_.remove_prefix(size);
    }
  }

  std::string_view rest_;
  int depth_ = 0;  // of groups
  bool repeats_nothing_ = false;
  bool refers_back_ = false;
};

}  // namespace

std::string regex_bounds_error(std::string_view expression) { return Walk(expression).error(); }

}  // namespace cloudbus
