// SPDX-License-Identifier: Apache-2.0
#pragma once

// Time as the core sees it: an argument. Nothing under core reads a clock; steady_clock only gives the type.

#include <chrono>

namespace cloudbus {

using Duration = std::chrono::microseconds;
using Time = std::chrono::time_point<std::chrono::steady_clock, Duration>;

}  // namespace cloudbus
