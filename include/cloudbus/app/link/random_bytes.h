// SPDX-License-Identifier: Apache-2.0
#pragma once

// Bytes that nobody can guess, from the system's random source.

#include <array>
#include <cstddef>

#include "cloudbus/core/base/bytes.h"

namespace cloudbus {

void fill_random(MutableBytes out);

template <std::size_t Size>
std::array<std::byte, Size> random_bytes() {
  std::array<std::byte, Size> bytes;
  fill_random(bytes);
  return bytes;
}

}  // namespace cloudbus
