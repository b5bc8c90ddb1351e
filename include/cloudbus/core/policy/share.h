// SPDX-License-Identifier: Apache-2.0
#pragma once

// How what is shared is divided while it lasts: nobody may hold more than is free. One alone gets a half; of N who all
// want more, each gets one part in N+1, and as much is free for whoever comes next. Nobody has to be counted, and
// nothing has to be set aside. (Dynamic thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2),
// 1998.)
//
// With a `factor`, nobody may hold more than so many times what is free: one alone gets factor / (factor + 1).

#include <cstdint>

namespace cloudbus {

// One holds `held` of the `used`, and all have `whole`.
constexpr bool may_hold_more(std::uint64_t held, std::uint64_t used, std::uint64_t whole, std::uint64_t factor = 1) {
  return used < whole && held / factor < whole - used;
}

}  // namespace cloudbus
