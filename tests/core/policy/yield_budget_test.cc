// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/policy/yield_budget.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

using namespace std::chrono_literals;

class YieldBudgetTest : public testing::Test {
 protected:
  // A turn of ours, and then others run for so long, when they may. False when they may not.
  bool turn(Duration ours, Duration others) {
    now_ += ours;
    if (!budget_.on_turn(now_, ours)) return false;
    now_ += others;
    budget_.on_back(now_, others);
    return true;
  }

  YieldBudget budget_;
  Time now_{10s};
};

TEST_F(YieldBudgetTest, OthersThatTakeAsLongAsWeDoAlwaysRun) {
  for (int i = 0; i < 10'000; i++) ASSERT_TRUE(turn(100us, 100us));
}

TEST_F(YieldBudgetTest, TheyMayTakeAFewTimesAsLong) {
  for (int i = 0; i < 10'000; i++) ASSERT_TRUE(turn(100us, YieldBudget::kTimes * 100us));
}

TEST_F(YieldBudgetTest, WhoKeepsTheProcessorHasLittleOfIt) {
  Time begin = now_;
  Duration others{};
  while (now_ - begin < 10s)
    if (turn(100us, 3ms)) others += 3ms;
  EXPECT_GT(others, Duration::zero());
  EXPECT_LT(others, (now_ - begin) / 20) << others.count() << " us";
}

TEST_F(YieldBudgetTest, WhatWasNotTakenIsNotKeptForEver) {
  for (int i = 0; i < 10'000; i++) ASSERT_TRUE(turn(1ms, 0us));
  EXPECT_TRUE(turn(0us, YieldBudget::kMost + 1us));
  EXPECT_FALSE(turn(0us, 0us));
}

TEST_F(YieldBudgetTest, AfterAPauseTheyAreTriedAgain) {
  EXPECT_TRUE(turn(0us, 1s));
  now_ += YieldBudget::kPause - 1us;
  EXPECT_FALSE(turn(0us, 0us));
  now_ += 1us;
  EXPECT_TRUE(turn(0us, 0us));
}

TEST_F(YieldBudgetTest, ALongTurnMakesUpForLongYields) {
  for (int i = 0; i < 1000; i++) ASSERT_TRUE(turn(2ms, 6ms));
}

}  // namespace
}  // namespace cloudbus
