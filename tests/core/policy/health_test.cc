// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/policy/health.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Time kStart{hours(1)};

// An address that is out since kStart.
Health out() {
  Health health;
  for (int i = 0; i < HealthRules().fall; i++) health.on_failure(kStart);
  return health;
}

TEST(Health, ThreeFailuresInARowPutItOutForASecond) {
  Health health;
  EXPECT_FALSE(health.on_failure(kStart));
  EXPECT_FALSE(health.on_failure(kStart));
  EXPECT_TRUE(health.is_in(kStart));
  EXPECT_TRUE(health.on_failure(kStart));
  EXPECT_FALSE(health.is_in(kStart + milliseconds(999)));
  EXPECT_TRUE(health.is_in(kStart + seconds(1)));
}

TEST(Health, ASuccessBetweenCountsFromTheStart) {
  Health health;
  health.on_failure(kStart);
  health.on_failure(kStart);
  EXPECT_FALSE(health.on_success());
  EXPECT_FALSE(health.on_failure(kStart));
  EXPECT_TRUE(health.is_in(kStart));
}

TEST(Health, OneTriesItAndTheOthersWaitForWhatComesOfIt) {
  Health health = out();
  Time later = kStart + seconds(1);
  ASSERT_TRUE(health.is_in(later));
  health.begin(later);
  EXPECT_FALSE(health.is_in(later));
  EXPECT_TRUE(health.on_success());
  EXPECT_TRUE(health.is_in(later));
}

TEST(Health, ATrialOfWhichNothingIsHeardIsFollowedByAnother) {
  Health health = out();
  health.begin(kStart + seconds(1));
  EXPECT_TRUE(health.is_in(kStart + seconds(2)));
}

TEST(Health, ATrialThatFailsDoublesTheTimeUpToAMinute) {
  Health health = out();
  Time now = kStart;
  for (int seconds_out : {2, 4, 8, 16, 32, 60, 60}) {
    now += hours(1);
    health.begin(now);
    EXPECT_FALSE(health.on_failure(now)) << "it was out before";
    EXPECT_EQ(health.out_for(), seconds(seconds_out));
    EXPECT_FALSE(health.is_in(now + seconds(seconds_out) - milliseconds(1)));
    EXPECT_TRUE(health.is_in(now + seconds(seconds_out)));
  }
}

TEST(Health, BeginningWithOneThatIsInChangesNothing) {
  Health health;
  health.begin(kStart);
  EXPECT_TRUE(health.is_in(kStart));
}

constexpr HealthRules kChecked{.fall = 2, .rise = 3, .is_checked = true};

TEST(Health, OneThatIsCheckedIsOutUntilItsChecksSucceed) {
  Health health(kChecked);
  EXPECT_FALSE(health.on_failure(kStart));
  EXPECT_TRUE(health.on_failure(kStart));
  EXPECT_FALSE(health.is_in(kStart + hours(1))) << "no conversation is its trial";
  EXPECT_FALSE(health.on_success());
  EXPECT_FALSE(health.on_success());
  EXPECT_FALSE(health.is_in(kStart + hours(1)));
  EXPECT_TRUE(health.on_success());
  EXPECT_TRUE(health.is_in(kStart));
}

TEST(Health, AFailureBetweenItsSuccessesKeepsItOut) {
  Health health(kChecked);
  for (int i = 0; i < 2; i++) health.on_failure(kStart);
  for (int i = 0; i < 2; i++) health.on_success();
  EXPECT_FALSE(health.on_failure(kStart)) << "it was out before";
  for (int i = 0; i < 2; i++) EXPECT_FALSE(health.on_success());
  EXPECT_TRUE(health.on_success());
}

TEST(Health, WhatSucceededWhileItWasInDoesNotCountForItsReturn) {
  Health health(kChecked);
  for (int i = 0; i < 3; i++) EXPECT_FALSE(health.on_success());
  for (int i = 0; i < 2; i++) health.on_failure(kStart);
  EXPECT_FALSE(health.on_success());
}

TEST(Health, ItIsWellWhenNothingFailedSinceTheLastSuccess) {
  Health health(kChecked);
  EXPECT_TRUE(health.is_well());
  health.on_failure(kStart);
  EXPECT_FALSE(health.is_well());
  health.on_success();
  EXPECT_TRUE(health.is_well());
  for (int i = 0; i < 2; i++) health.on_failure(kStart);
  health.on_success();
  EXPECT_FALSE(health.is_well());
}

}  // namespace
}  // namespace cloudbus
