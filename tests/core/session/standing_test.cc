// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/session/standing.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

using namespace std::chrono_literals;

class StandingTest : public testing::Test {
 protected:
  // The link is full every 4 ms, and carries so many bytes in a millisecond.
  void fill(std::size_t bytes_in_ms, int times = 200) {
    for (int i = 0; i < times; i++) {
      standing_.on_taken(4 * bytes_in_ms);
      standing_.on_full(now_ += 4ms);
    }
  }
  std::size_t most(Duration round_trip = 1ms) const { return standing_.most(round_trip, now_); }

  SmallTraffic small_;
  Standing standing_{small_};
  Time now_{10s};
};

TEST_F(StandingTest, OfALinkThatIsNotKnownMuchMayStand) {
  EXPECT_EQ(most(), Standing::kMost);
  standing_.on_taken(100);
  standing_.on_full(now_);
  EXPECT_EQ(most(), Standing::kMost);
}

TEST_F(StandingTest, OfASlowLinkItIsWhatTheLinkCarriesInAMoment) {
  fill(20'000);
  EXPECT_NEAR(static_cast<double>(most()), 200'000, 2'000);
}

TEST_F(StandingTest, OverALongWayItIsAFourthOfARoundTrip) {
  fill(10'000);
  EXPECT_NEAR(static_cast<double>(most(200ms)), 500'000, 5'000);
}

TEST_F(StandingTest, ItHasBounds) {
  fill(100);
  EXPECT_EQ(most(), Standing::kLeast);
  fill(10'000'000);
  EXPECT_EQ(most(), Standing::kMost);
}

TEST_F(StandingTest, BesideWhoHasLittleToSayLessMayStandForAWhile) {
  small_.on_taken_in(now_);
  EXPECT_EQ(most(), Standing::kMostBesideSmall);
  EXPECT_EQ(most(100ms), Standing::kMost);  // where the way takes longer anyway
  EXPECT_FALSE(standing_.is_slow(1ms, now_));
  now_ += SmallTraffic::kRecent;
  EXPECT_EQ(most(), Standing::kMostBesideSmall);
  now_ += 1us;
  EXPECT_EQ(most(), Standing::kMost);
}

TEST_F(StandingTest, WhoHasLittleToSayMayBeOnAnotherLink) {
  Standing other(small_);
  small_.on_taken_in(now_);
  EXPECT_EQ(other.most(1ms, now_), Standing::kMostBesideSmall);
}

TEST_F(StandingTest, ThatSomebodyHasLittleToSayIsKnownAsLongAsItIsTold) {
  for (int i = 0; i < 1000; i++) {
    small_.on_taken_in(now_ += 1ms);
    ASSERT_EQ(most(), Standing::kMostBesideSmall);
  }
  now_ += SmallTraffic::kRecent / 2;
  EXPECT_EQ(most(), Standing::kMostBesideSmall);
}

TEST_F(StandingTest, ASlowLinkIsSlowBesideThemToo) {
  fill(1'000);
  small_.on_taken_in(now_);
  EXPECT_TRUE(standing_.is_slow(1ms, now_));
  EXPECT_EQ(most(), Standing::kLeast);
}

TEST_F(StandingTest, BurstsWithinAMomentAreNoRate) {
  for (int i = 0; i < 1000; i++) {  // 8 KiB every millisecond, each taken at once and followed by another try
    standing_.on_taken(8 * 1024);
    standing_.on_full(now_ += 999us);
    standing_.on_full(now_ += 1us);
  }
  EXPECT_NEAR(static_cast<double>(most()), 10 * 8 * 1024, 3'000);
}

TEST_F(StandingTest, TheTimeInWhichALinkHadNothingToCarryCountsLittle) {
  fill(20'000);
  std::size_t before = most();
  standing_.on_taken(10);
  standing_.on_emptied();
  standing_.on_full(now_ += 500ms);
  EXPECT_GT(most(), before - before / 10);
}

TEST_F(StandingTest, WhatWasKnownOfALinkThatIsNotFullIsForgotten) {
  fill(1'000);
  EXPECT_EQ(most(), Standing::kLeast);
  now_ += 2s;
  EXPECT_EQ(most(), Standing::kMost);
}

}  // namespace
}  // namespace cloudbus
