// SPDX-License-Identifier: Apache-2.0
#pragma once

// The values of a configuration: times, sizes, numbers, words and names; from text and back.
// An error reads "what is wrong; what is allowed" and goes behind the name of its key.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "cloudbus/core/base/time.h"

namespace cloudbus {

template <class T>
struct Parsed {
  std::optional<T> value;
  std::string error;
};

// `5 s`, `300ms`, `5 min`, `2 h`; a bare number is seconds. Between 1 ms and 24 h, or 0 where `zero` allows it.
enum class Zero { Allowed, Refused };
Parsed<Duration> parse_duration(std::string_view text, Zero zero);
std::string format_duration(Duration duration);

// Bytes: `65536`, `64K`, `512 M`, `2G`; 1024-based.
Parsed<std::uint64_t> parse_size(std::string_view text, std::uint64_t least, std::uint64_t most);
std::string format_size(std::uint64_t bytes);

Parsed<int> parse_number(std::string_view text, int least, int most);

// Octal, 0 to 0777.
Parsed<mode_t> parse_file_mode(std::string_view text);
std::string format_file_mode(mode_t mode);

// A word is the same in any case, and with a space, `_` or `-` between its parts: "Half  Duplex" gives "half_duplex".
std::string normal_word(std::string_view text);
// The index of `text` in `words`.
Parsed<std::size_t> parse_word(std::string_view text, std::span<const std::string_view> words);
// The begin of the error for a text that is none of `words`: `"warn" is not known here, perhaps warning is meant`.
std::string not_known(std::string_view text, std::span<const std::string_view> words);
// The one of `words` that `text` looks like a slip of, "sever" or "server tcp", or that it is the begin of, "warn";
// empty if there is none.
std::string_view meant_word(std::string_view text, std::span<const std::string_view> words);

// A service's name: 1 to 255 bytes of UTF-8 without control characters. Returns the error, or nothing.
constexpr std::size_t kMaxServiceName = 255;
std::string check_service_name(std::string_view name);

// In double quotes, short and on one line, whatever the bytes are.
std::string quoted(std::string_view text);
// "a, b and c".
std::string listed(std::span<const std::string_view> words);

}  // namespace cloudbus
