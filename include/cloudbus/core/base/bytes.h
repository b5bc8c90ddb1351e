// SPDX-License-Identifier: Apache-2.0
#pragma once

// Views of bytes, and integers in network byte order.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace cloudbus {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

// Writes `value` at `out`, most significant byte first; returns the place behind the value.
template <std::unsigned_integral Int>
constexpr std::byte* store(std::byte* out, Int value) {
  for (std::size_t i = sizeof(Int); i-- > 0;) *out++ = static_cast<std::byte>(value >> (8 * i));
  return out;
}

// Reads an integer, most significant byte first. The caller has checked that `in` has all of its bytes.
template <std::unsigned_integral Int>
constexpr Int load(const std::byte* in) {
  Int value = 0;
  for (std::size_t i = 0; i < sizeof(Int); i++)
    value = static_cast<Int>(value << (sizeof(Int) > 1 ? 8 : 0) | std::to_integer<Int>(in[i]));
  return value;
}

inline Bytes as_bytes(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }

inline std::string_view as_text(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace cloudbus
