// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <vector>

#include "cloudbus/core/base/utf8.h"

namespace cloudbus {
namespace {

using namespace std::chrono_literals;

constexpr Duration kLongest = 24h;
constexpr std::string_view kSpaces = " \t";

struct TimeUnit {
  std::string_view name;
  Duration length;
};
constexpr std::array<TimeUnit, 4> kTimeUnits = {{{"h", 1h}, {"min", 1min}, {"s", 1s}, {"ms", 1ms}}};

struct SizeUnit {
  std::string_view name;
  std::uint64_t bytes;
};
constexpr std::array<SizeUnit, 4> kSizeUnits = {{{"g", 1u << 30}, {"m", 1u << 20}, {"k", 1u << 10}, {"", 1}}};

// A whole number and what stands behind it, in small letters.
struct Quantity {
  std::uint64_t number = 0;
  std::string unit;
};

std::string small_letters(std::string_view text) {
  std::string small(text);
  for (char& c : small) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return small;
}

std::optional<Quantity> parse_quantity(std::string_view text) {
  Quantity quantity;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), quantity.number);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  text.remove_prefix(std::min(text.find_first_not_of(kSpaces), text.size()));
  quantity.unit = small_letters(text);
  return quantity;
}

template <class T>
Parsed<T> failed(std::string error) {
  return {std::nullopt, std::move(error)};
}

// How many letters must be changed, added, taken away or swapped with their neighbour.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::string letters(std::string_view text) {
  std::string word = normal_word(text);
  std::erase(word, '_');
  return word;
}

// The only one that begins like this, "warn" or "leastconn"; empty if there are several or none.
std::string_view begun_word(std::string_view text, std::span<const std::string_view> words) {
  constexpr std::size_t kFewestLetters = 3;
  std::string begin = letters(text);
  if (begin.size() < kFewestLetters) return {};
  auto fits = [&](std::string_view word) { return letters(word).starts_with(begin); };
  return std::ranges::count_if(words, fits) == 1 ? *std::ranges::find_if(words, fits) : std::string_view();
}

}  // namespace

Parsed<Duration> parse_duration(std::string_view text, Zero zero) {
  std::string allowed = std::string("; allowed is 1 ms to 24 h") + (zero == Zero::Allowed ? ", or 0" : "") +
                        ", as in 300 ms, 5 s, 5 min or 2 h";
  auto quantity = parse_quantity(text);
  if (!quantity) return failed<Duration>(quoted(text) + " is not a time" + allowed);
  if (quantity->unit.empty()) quantity->unit = "s";
  auto unit = std::ranges::find(kTimeUnits, quantity->unit, &TimeUnit::name);
  if (unit == kTimeUnits.end()) return failed<Duration>(quoted(text) + " is not a time" + allowed);
  if (quantity->number == 0 && zero == Zero::Refused) return failed<Duration>("0 is too short" + allowed);
  if (quantity->number > static_cast<std::uint64_t>(kLongest / unit->length)) {
    return failed<Duration>(quoted(text) + " is too long" + allowed);
  }
  return {unit->length * static_cast<Duration::rep>(quantity->number), {}};
}

std::string format_duration(Duration duration) {
  if (duration == Duration::zero()) return "0";
  for (const TimeUnit& unit : kTimeUnits) {
    if (duration % unit.length == Duration::zero()) {
      return std::to_string(duration / unit.length) + " " + std::string(unit.name);
    }
  }
  return std::to_string(duration / 1ms) + " ms";
}

Parsed<std::uint64_t> parse_size(std::string_view text, std::uint64_t least, std::uint64_t most) {
  std::string allowed = "; allowed is " + format_size(least) + " to " + format_size(most) +
                        ", in bytes or with K, M or G behind the number";
  auto quantity = parse_quantity(text);
  if (!quantity) return failed<std::uint64_t>(quoted(text) + " is not a size" + allowed);
  auto unit = std::ranges::find(kSizeUnits, quantity->unit, &SizeUnit::name);
  if (unit == kSizeUnits.end()) return failed<std::uint64_t>(quoted(text) + " is not a size" + allowed);
  if (quantity->number > most / unit->bytes) return failed<std::uint64_t>(quoted(text) + " is too much" + allowed);
  std::uint64_t bytes = quantity->number * unit->bytes;
  if (bytes < least) return failed<std::uint64_t>(quoted(text) + " is too little" + allowed);
  return {bytes, {}};
}

std::string format_size(std::uint64_t bytes) {
  auto unit = std::ranges::find_if(kSizeUnits, [&](const SizeUnit& u) { return bytes % u.bytes == 0; });
  std::string name(unit->name);
  for (char& c : name) c = static_cast<char>(c - 'a' + 'A');
  return std::to_string(bytes / unit->bytes) + name;
}

Parsed<int> parse_number(std::string_view text, int least, int most) {
  int number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  bool is_number = end == text.data() + text.size() && error != std::errc::invalid_argument;
  if (is_number && error == std::errc() && number >= least && number <= most) return {number, {}};
  return failed<int>(quoted(text) + (is_number ? " is out of range" : " is not a number") + "; allowed is " +
                     std::to_string(least) + " to " + std::to_string(most));
}

Parsed<mode_t> parse_file_mode(std::string_view text) {
  mode_t mode = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (error != std::errc() || end != text.data() + text.size() || mode > 0777) {
    return failed<mode_t>(quoted(text) + " is not a file's permissions; allowed is 0000 to 0777 in octal, as in 0660");
  }
  return {mode, {}};
}

std::string format_file_mode(mode_t mode) {
  char text[16];
  std::snprintf(text, sizeof text, "%04o", static_cast<unsigned>(mode));
  return text;
}

std::string normal_word(std::string_view text) {
  std::string word;
  for (char c : small_letters(text)) {
    bool space = c == ' ' || c == '\t' || c == '_' || c == '-';
    if (!space) {
      word += c;
    } else if (!word.ends_with('_')) {
      word += '_';
    }
  }
  return word;
}

Parsed<std::size_t> parse_word(std::string_view text, std::span<const std::string_view> words) {
  auto found = std::ranges::find(words, normal_word(text), normal_word);
  if (found != words.end()) return {static_cast<std::size_t>(found - words.begin()), {}};
  return failed<std::size_t>(not_known(text, words) + "; allowed are " + listed(words));
}

std::string not_known(std::string_view text, std::span<const std::string_view> words) {
  std::string_view meant = meant_word(text, words);
  return quoted(text) + " is not known here" + (meant.empty() ? "" : ", perhaps " + std::string(meant) + " is meant");
}

std::string_view meant_word(std::string_view text, std::span<const std::string_view> words) {
  constexpr std::size_t kLongestWord = 32;
  std::string_view first_word = text.substr(0, text.find_first_of(kSpaces));
  for (std::string_view slip : {text, first_word}) {
    if (slip.size() > kLongestWord || words.empty()) continue;
    std::string word = normal_word(slip);
    auto slips = [&](std::string_view candidate) { return distance(word, candidate); };
    std::string_view nearest = *std::ranges::min_element(words, {}, slips);
    if (slips(nearest) <= 2 && slips(nearest) * 2 < nearest.size()) return nearest;
  }
  return begun_word(text, words);
}

std::string check_service_name(std::string_view name) {
  if (name.empty()) return "a service's name is empty; 1 to 255 bytes are allowed";
  if (name.size() > kMaxServiceName) {
    return "a service's name has " + std::to_string(name.size()) + " bytes; 1 to 255 are allowed";
  }
  for (std::size_t at = 0, size = 0; at < name.size(); at += size) {
    auto [length, code] = utf8_character(name.substr(at));
    size = length;
    if (size == 0) return "a service's name " + quoted(name) + " is not UTF-8; nothing else is allowed";
    if (is_control(code)) return "a service's name " + quoted(name) + " holds a control character; none is allowed";
  }
  return {};
}

std::string quoted(std::string_view text) {
  constexpr std::size_t kMost = 80;
  std::string result = "\"";
  for (std::size_t at = 0, size = 0; at < text.size() && at < kMost; at += size) {
    auto [length, code] = utf8_character(text.substr(at));
    size = std::max<std::size_t>(length, 1);
    if (length == 0 || is_control(code)) {
      for (char c : text.substr(at, size)) {
        char hex[8];
        std::snprintf(hex, sizeof hex, "\\x%02x", static_cast<unsigned char>(c));
        result += hex;
      }
      continue;
    }
    if (code == '"' || code == '\\') result += '\\';
    result += text.substr(at, size);
  }
  return result + (text.size() > kMost ? "…\"" : "\"");
}

std::string listed(std::span<const std::string_view> words) {
  std::string list;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) list += i + 1 == words.size() ? " and " : ", ";
    list += words[i];
  }
  return list;
}

}  // namespace cloudbus
