// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

namespace cloudbus {

struct Utf8Character {
  std::size_t size = 0;  // in bytes, 1 to 4; 0 where there is none
  char32_t code = 0;
};

// The character at the start of a text that is not empty. RFC 3629, section 4: none that is longer than it must be, no
// half of a surrogate pair, nothing above U+10FFFF.
Utf8Character utf8_character(std::string_view text);

// A control character of ASCII or of Latin 1: U+0000 to U+001F, U+007F to U+009F.
constexpr bool is_control(char32_t code) { return code < 0x20 || (code >= 0x7f && code < 0xa0); }

}  // namespace cloudbus
