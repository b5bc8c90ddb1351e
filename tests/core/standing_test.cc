// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/standing.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

using namespace std::chrono_literals;

// A link that is always full, and carries so many bytes in a millisecond.
void fill(Standing& standing, Time& now, std::size_t bytes_in_ms, int times = 50) {
  for (int i = 0; i < times; i++) {
    standing.on_taken(4 * bytes_in_ms);
    now += 4ms;
    standing.on_full(now);
  }
}

TEST(Standing, OfALinkThatIsNotKnownMuchMayStand) {
  Standing standing;
  EXPECT_EQ(standing.most(1ms), Standing::kMost);
  standing.on_taken(100);
  standing.on_full(Time{1s});
  EXPECT_EQ(standing.most(1ms), Standing::kMost);
}

TEST(Standing, OfASlowLinkItIsWhatTheLinkCarriesInAMoment) {
  Standing standing;
  Time now{1s};
  fill(standing, now, 20'000);
  EXPECT_NEAR(static_cast<double>(standing.most(1ms)), 200'000, 2'000);
}

TEST(Standing, OverALongWayItIsAFourthOfARoundTrip) {
  Standing standing;
  Time now{1s};
  fill(standing, now, 10'000);
  EXPECT_NEAR(static_cast<double>(standing.most(200ms)), 500'000, 5'000);
}

TEST(Standing, ItHasBounds) {
  Standing standing;
  Time now{1s};
  fill(standing, now, 100);
  EXPECT_EQ(standing.most(1ms), Standing::kLeast);
  fill(standing, now, 10'000'000);
  EXPECT_EQ(standing.most(1ms), Standing::kMost);
}

TEST(Standing, TheTimeInWhichALinkHadNothingToCarryDoesNotCount) {
  Standing standing;
  Time now{1s};
  fill(standing, now, 20'000);
  std::size_t before = standing.most(1ms);
  standing.on_taken(10);
  standing.on_emptied();
  now += 10s;
  standing.on_taken(300'000);
  standing.on_full(now);
  EXPECT_GE(standing.most(1ms), before);
}

TEST(Standing, ALinkThatTakesEverythingSoonHasItsBytesAgain) {
  Standing standing;
  Time now{1s};
  fill(standing, now, 1'000);
  EXPECT_EQ(standing.most(1ms), Standing::kLeast);
  for (int i = 0; i < 10; i++) {
    standing.on_taken(Standing::kLeast);
    standing.on_full(now += 1ms);
    standing.on_taken(Standing::kLeast);
    standing.on_emptied();
  }
  EXPECT_EQ(standing.most(1ms), Standing::kMost);
}

}  // namespace
}  // namespace cloudbus
