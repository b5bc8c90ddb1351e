// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/base/utf8.h"

namespace cloudbus {
namespace {

// How many bytes a character has that begins with this one; 0 if none does.
std::size_t size_after(unsigned char first) {
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

}  // namespace

Utf8Character utf8_character(std::string_view text) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  std::size_t size = size_after(byte(0));
  if (size == 0 || text.size() < size) return {};
  char32_t code = size == 1 ? byte(0) : byte(0) & (0xff >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kLeast[size] || surrogate || code > 0x10ffff) return {};
  return {size, code};
}

}  // namespace cloudbus
