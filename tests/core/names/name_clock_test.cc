// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/name_clock.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Time kStart{hours(1)};

// A name that was answered at kStart.
NameClock found(Duration ttl) {
  NameClock clock;
  clock.ask();
  clock.on_found(ttl, kStart, 0);
  return clock;
}

TEST(NameClock, ANewNameIsDueAtOnceAndServesNothing) {
  NameClock clock;
  EXPECT_TRUE(clock.is_due(kStart));
  EXPECT_FALSE(clock.serves(kStart));
}

TEST(NameClock, OneQueryIsInFlight) {
  NameClock clock;
  clock.ask();
  EXPECT_FALSE(clock.is_due(kStart + hours(1)));
  EXPECT_EQ(clock.ask_at(), Time::max());
}

TEST(NameClock, APartServesAndTheRestIsAwaitedByNobody) {
  NameClock clock;
  clock.ask();
  EXPECT_TRUE(clock.is_awaited());
  clock.on_part(seconds(30), kStart, 0);
  EXPECT_TRUE(clock.serves(kStart));
  EXPECT_FALSE(clock.is_awaited());
  EXPECT_FALSE(clock.is_due(kStart + hours(1))) << "its query is in flight";
}

TEST(NameClock, TheTtlOfAPartCountsFromWhenItCame) {
  NameClock clock;
  clock.ask();
  clock.on_part(seconds(30), kStart, 0);
  clock.on_found(seconds(30), kStart + seconds(3), 0);
  EXPECT_EQ(clock.ask_at(), kStart + seconds(30));
  clock.ask();
  clock.on_part(seconds(30), kStart, 0);
  clock.on_found(seconds(10), kStart + seconds(3), 0);
  EXPECT_EQ(clock.ask_at(), kStart + seconds(13));
  clock.ask();
  clock.on_found(seconds(60), kStart + seconds(13), 0);
  EXPECT_EQ(clock.ask_at(), kStart + seconds(73));
}

TEST(NameClock, IsDueWhenTheTtlIsOver) {
  NameClock clock = found(seconds(30));
  EXPECT_FALSE(clock.is_due(kStart + milliseconds(29'999)));
  EXPECT_TRUE(clock.is_due(kStart + seconds(30)));
  EXPECT_TRUE(clock.serves(kStart + seconds(31)));
}

TEST(NameClock, KeepsTtlsBetweenASecondAndAnHour) {
  EXPECT_EQ(found(seconds(0)).ask_at(), kStart + seconds(1));
  EXPECT_EQ(found(hours(48)).ask_at(), kStart + hours(1));
}

TEST(NameClock, NamesWithOneTtlDoNotRemainInStep) {
  NameClock early, late;
  early.on_found(seconds(100), kStart, 0);
  late.on_found(seconds(100), kStart, 0.5);
  EXPECT_EQ(early.ask_at(), kStart + seconds(100));
  EXPECT_EQ(late.ask_at(), kStart + seconds(105));
  late.on_missing(seconds(10), kStart, 0.999);
  EXPECT_GT(late.ask_at(), kStart + milliseconds(10'900));
  EXPECT_LE(late.ask_at(), kStart + milliseconds(11'000)) << "a tenth at most";
}

TEST(NameClock, WhatFailedOrIsMissingIsNotSettledAndCanBeHurried) {
  NameClock clock;
  EXPECT_FALSE(clock.is_settled());
  clock.ask();
  clock.hurry(kStart);
  EXPECT_FALSE(clock.is_due(kStart)) << "its query is in flight";
  clock.on_missing(seconds(60), kStart, 0);
  EXPECT_FALSE(clock.is_settled());
  clock.hurry(kStart + seconds(1));
  EXPECT_TRUE(clock.is_due(kStart + seconds(1)));
  clock.ask();
  clock.on_found(seconds(60), kStart, 0);
  EXPECT_TRUE(clock.is_settled());
  clock.ask();
  clock.on_failed(kStart, 0);
  EXPECT_FALSE(clock.is_settled()) << "though the last answer serves";
  EXPECT_TRUE(clock.serves(kStart));
}

TEST(NameClock, ThatThereIsNothingIsAnAnswer) {
  NameClock clock;
  clock.ask();
  clock.on_missing(seconds(7), kStart, 0);
  EXPECT_TRUE(clock.serves(kStart));
  EXPECT_FALSE(clock.is_stale());
  EXPECT_EQ(clock.ask_at(), kStart + seconds(7));
  clock.ask();
  clock.on_missing(hours(2), kStart, 0);
  EXPECT_EQ(clock.ask_at(), kStart + NameClock::kMostNegativeTtl);
}

TEST(NameClock, FailuresAreTriedAgainLaterAndLater) {
  NameClock clock;
  Duration before{};
  for (int i = 0; i < 10; i++) {
    clock.ask();
    clock.on_failed(kStart, 0.5);
    EXPECT_GE(clock.ask_at() - kStart, before);
    before = clock.ask_at() - kStart;
  }
  EXPECT_LE(before, seconds(60));
  EXPECT_FALSE(clock.serves(kStart));
}

TEST(NameClock, TheLastAnswerServesForADayWhenNoOtherCanBeHad) {
  NameClock clock = found(seconds(10));
  clock.ask();
  clock.on_failed(kStart + seconds(10), 0);
  EXPECT_TRUE(clock.is_stale());
  EXPECT_TRUE(clock.serves(kStart + hours(24) - milliseconds(1)));
  EXPECT_FALSE(clock.serves(kStart + hours(24)));
}

TEST(NameClock, AnAnswerAfterFailuresIsFreshAgain) {
  NameClock clock = found(seconds(10));
  clock.ask();
  clock.on_failed(kStart + seconds(10), 0);
  clock.ask();
  clock.on_found(seconds(10), kStart + seconds(12), 0);
  EXPECT_FALSE(clock.is_stale());
  EXPECT_EQ(clock.ask_at(), kStart + seconds(22));
}

}  // namespace
}  // namespace cloudbus
