// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/policy/share.h"

#include <gtest/gtest.h>

#include <vector>

namespace cloudbus {
namespace {

constexpr std::uint64_t kWhole = 1000;

// All of them take one after the other until nobody may take more.
std::vector<std::uint64_t> take_all(std::size_t count, std::uint64_t factor = 1) {
  std::vector<std::uint64_t> held(count);
  std::uint64_t used = 0;
  for (bool has_taken = true; has_taken;) {
    has_taken = false;
    for (std::uint64_t& mine : held) {
      if (!may_hold_more(mine, used, kWhole, factor)) continue;
      mine++;
      used++;
      has_taken = true;
    }
  }
  return held;
}

TEST(Share, OneAloneGetsAHalf) { EXPECT_EQ(take_all(1).front(), kWhole / 2); }

TEST(Share, OfManyEachGetsAsMuchAsIsFree) {
  for (std::size_t count : {2u, 3u, 9u, 99u})
    for (std::uint64_t held : take_all(count)) EXPECT_NEAR(static_cast<double>(held), 1000.0 / (count + 1.0), 1.0);
}

TEST(Share, WithAFactorLessStaysFree) {
  EXPECT_NEAR(static_cast<double>(take_all(1, 15).front()), 1000.0 * 15 / 16, 15.0);
}

TEST(Share, WhoHoldsLittleMayTakeWhileOthersMayNot) {
  EXPECT_FALSE(may_hold_more(500, 500, kWhole));
  EXPECT_TRUE(may_hold_more(0, 500, kWhole));
  EXPECT_FALSE(may_hold_more(0, kWhole, kWhole));
  EXPECT_FALSE(may_hold_more(0, kWhole + 1, kWhole));
}

}  // namespace
}  // namespace cloudbus
