// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/session/limits.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Time kNow{std::chrono::hours(1)};

int take_all(TokenBucket& bucket, Time now) {
  int count = 0;
  while (bucket.take(now)) count++;
  return count;
}

TEST(TokenBucket, GivesItsBurstAtOnceAndThenNoMore) {
  TokenBucket bucket(64, 16);
  EXPECT_EQ(take_all(bucket, kNow), 64);
  EXPECT_FALSE(bucket.take(kNow));
}

TEST(TokenBucket, FillsWithTime) {
  TokenBucket bucket(64, 16);
  take_all(bucket, kNow);
  EXPECT_EQ(take_all(bucket, kNow + milliseconds(500)), 8);
  EXPECT_EQ(take_all(bucket, kNow + seconds(2)), 24);
}

TEST(TokenBucket, NeverHoldsMoreThanItsBurst) {
  TokenBucket bucket(64, 16);
  take_all(bucket, kNow);
  EXPECT_EQ(take_all(bucket, kNow + seconds(1'000)), 64);
  bucket.add(1'000);
  EXPECT_EQ(take_all(bucket, kNow + seconds(1'000)), 64);
}

TEST(TokenBucket, SlowTakingAddsUpFractions) {
  TokenBucket bucket(1, 2);
  EXPECT_TRUE(bucket.take(kNow));
  EXPECT_FALSE(bucket.take(kNow + milliseconds(250)));
  EXPECT_TRUE(bucket.take(kNow + milliseconds(500)));
}

TEST(TokenBucket, GainsNothingFromAClockThatStandsStill) {
  TokenBucket bucket(2, 1'000);
  EXPECT_EQ(take_all(bucket, kNow), 2);
  for (int i = 0; i < 100; i++) EXPECT_FALSE(bucket.take(kNow));
}

}  // namespace
}  // namespace cloudbus
