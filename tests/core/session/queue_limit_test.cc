// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/session/queue_limit.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

using namespace std::chrono_literals;

class StandingTest : public testing::Test {
 protected:
  // The link is full every 4 ms, and carries so many bytes in a millisecond.
  void fill(std::size_t bytes_in_ms, int times = 200) {
    for (int i = 0; i < times; i++) {
      queue_limit_.on_taken(4 * bytes_in_ms);
      queue_limit_.on_full(now_ += 4ms);
    }
  }
  std::size_t most(Duration round_trip = 1ms) const { return queue_limit_.most(round_trip, now_); }

  SmallTraffic small_;
  QueueLimit queue_limit_{small_};
  Time now_{10s};
};

TEST_F(StandingTest, OfALinkThatIsNotKnownMuchMayStand) {
  EXPECT_EQ(most(), QueueLimit::kMost);
  queue_limit_.on_taken(100);
  queue_limit_.on_full(now_);
  EXPECT_EQ(most(), QueueLimit::kMost);
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
  EXPECT_EQ(most(), QueueLimit::kLeast);
  fill(10'000'000);
  EXPECT_EQ(most(), QueueLimit::kMost);
}

TEST_F(StandingTest, BesideWhoHasLittleToSayLessMayStandForAWhile) {
  small_.on_taken_in(now_);
  EXPECT_EQ(most(), QueueLimit::kMostBesideSmall);
  EXPECT_EQ(most(100ms), QueueLimit::kMost);  // where the way takes longer anyway
  EXPECT_FALSE(queue_limit_.is_slow(1ms, now_));
  now_ += SmallTraffic::kRecent;
  EXPECT_EQ(most(), QueueLimit::kMostBesideSmall);
  now_ += 1us;
  EXPECT_EQ(most(), QueueLimit::kMost);
}

TEST_F(StandingTest, WhoHasLittleToSayMayBeOnAnotherLink) {
  QueueLimit other(small_);
  small_.on_taken_in(now_);
  EXPECT_EQ(other.most(1ms, now_), QueueLimit::kMostBesideSmall);
}

TEST_F(StandingTest, ThatSomebodyHasLittleToSayIsKnownAsLongAsItIsTold) {
  for (int i = 0; i < 1000; i++) {
    small_.on_taken_in(now_ += 1ms);
    ASSERT_EQ(most(), QueueLimit::kMostBesideSmall);
  }
  now_ += SmallTraffic::kRecent / 2;
  EXPECT_EQ(most(), QueueLimit::kMostBesideSmall);
}

TEST_F(StandingTest, ASlowLinkIsSlowBesideThemToo) {
  fill(1'000);
  small_.on_taken_in(now_);
  EXPECT_TRUE(queue_limit_.is_slow(1ms, now_));
  EXPECT_EQ(most(), QueueLimit::kLeast);
}

TEST_F(StandingTest, BurstsWithinAMomentAreNoRate) {
  for (int i = 0; i < 1000; i++) {  // 8 KiB every millisecond, each taken at once and followed by another try
    queue_limit_.on_taken(8 * 1024);
    queue_limit_.on_full(now_ += 999us);
    queue_limit_.on_full(now_ += 1us);
  }
  EXPECT_NEAR(static_cast<double>(most()), 10 * 8 * 1024, 3'000);
}

TEST_F(StandingTest, TheTimeInWhichALinkHadNothingToCarryCountsLittle) {
  fill(20'000);
  std::size_t before = most();
  queue_limit_.on_taken(10);
  queue_limit_.on_emptied();
  queue_limit_.on_full(now_ += 500ms);
  EXPECT_GT(most(), before - before / 10);
}

TEST_F(StandingTest, WhatWasKnownOfALinkThatIsNotFullIsForgotten) {
  fill(1'000);
  EXPECT_EQ(most(), QueueLimit::kLeast);
  now_ += 2s;
  EXPECT_EQ(most(), QueueLimit::kMost);
}

}  // namespace
}  // namespace cloudbus
