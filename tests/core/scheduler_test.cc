// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/scheduler.h"

#include <gtest/gtest.h>

#include <map>

#include "cloudbus/core/output.h"

namespace cloudbus {
namespace {

TEST(Scheduler, AnEmptyOneHasNoTurn) {
  Scheduler scheduler;
  EXPECT_TRUE(scheduler.empty());
  EXPECT_FALSE(scheduler.next());
}

TEST(Scheduler, OneAloneMayFillEverything) {
  Scheduler scheduler;
  scheduler.start(1);
  auto turn = scheduler.next();
  ASSERT_TRUE(turn);
  EXPECT_EQ(turn->stream, 1u);
  EXPECT_EQ(turn->bytes, Output::kMaxFill);
  EXPECT_TRUE(scheduler.empty());
}

TEST(Scheduler, TheBusyOnesTakeTurnsOfBoundedSize) {
  Scheduler scheduler;
  for (StreamId stream : {1, 2, 3}) scheduler.go_on(stream);
  for (StreamId expected : {1, 2, 3, 1, 2, 3}) {
    auto turn = scheduler.next();
    EXPECT_EQ(turn->stream, expected);
    EXPECT_EQ(turn->bytes, Scheduler::kTurn);
    scheduler.go_on(turn->stream);
  }
}

TEST(Scheduler, AQuietOneGoesBeforeTheBusyOnceAndWithFewBytes) {
  Scheduler scheduler;
  scheduler.go_on(1);
  scheduler.go_on(2);
  scheduler.start(3);
  auto turn = scheduler.next();
  EXPECT_EQ(turn->stream, 3u);
  EXPECT_EQ(turn->bytes, Scheduler::kFirstTurn);
  scheduler.go_on(3);  // it has more: now it is one of the busy
  for (StreamId expected : {1, 2, 3}) EXPECT_EQ(scheduler.next()->stream, expected);
}

TEST(Scheduler, ABusyOneIsNotStarvedByOnesThatAreQuietInBetween) {
  Scheduler scheduler;
  scheduler.go_on(1);
  int turns_of_the_busy_one = 0;
  for (StreamId quiet = 2; quiet < 1000; quiet++) {
    scheduler.start(quiet);
    if (scheduler.next()->stream != 1) continue;
    turns_of_the_busy_one++;
    scheduler.go_on(1);
  }
  EXPECT_GE(turns_of_the_busy_one, 1000 / (Scheduler::kQuietTurns + 1) - 1);
}

TEST(Scheduler, QuietOnesKeepTheirOrder) {
  Scheduler scheduler;
  for (StreamId stream : {5, 4, 6}) scheduler.start(stream);
  for (StreamId expected : {5, 4, 6}) EXPECT_EQ(scheduler.next()->stream, expected);
}

TEST(Scheduler, TheFirstPriorityHasTheTurnsButForSome) {
  Scheduler scheduler;
  scheduler.go_on(1, -128);
  scheduler.go_on(2, 0);
  scheduler.go_on(3, 127);
  std::map<StreamId, int> turns;
  constexpr int kRounds = 100, kRound = Scheduler::kUrgentTurns + 1;
  for (int i = 0; i < kRounds * kRound; i++) {
    StreamId stream = scheduler.next()->stream;
    turns[stream]++;
    scheduler.go_on(stream, stream == 1 ? -128 : stream == 2 ? 0 : 127);
  }
  EXPECT_EQ(turns[1], kRounds * Scheduler::kUrgentTurns);
  EXPECT_EQ(turns[2], kRounds / 2);
  EXPECT_EQ(turns[3], kRounds / 2);
}

TEST(Scheduler, AQuietOneOfALaterPriorityWaitsForTheBusyOfAnEarlierOne) {
  Scheduler scheduler;
  scheduler.start(1, 5);
  scheduler.go_on(2, 4);
  EXPECT_EQ(scheduler.next()->stream, 2u);
  EXPECT_EQ(scheduler.next()->stream, 1u);
  EXPECT_TRUE(scheduler.empty());
}

TEST(Scheduler, NoTurnIsGivenAwayWhileNobodyElseWaits) {
  Scheduler scheduler;
  for (int i = 0; i < 5 * Scheduler::kUrgentTurns; i++) {
    scheduler.go_on(1, 3);
    EXPECT_EQ(scheduler.next()->bytes, Output::kMaxFill);
  }
  scheduler.go_on(1, 3);
  scheduler.go_on(2, 4);
  EXPECT_EQ(scheduler.next()->stream, 1u);
}

}  // namespace
}  // namespace cloudbus
