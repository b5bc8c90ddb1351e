// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/timers.h"

#include <gtest/gtest.h>

#include <vector>

namespace cloudbus {
namespace {

Time at(int milliseconds) { return Time{} + std::chrono::milliseconds(milliseconds); }

std::vector<Timers::Key> due(Timers& timers, Time now) {
  std::vector<Timers::Key> keys;
  Timers::Key key;
  while (timers.take_due(now, key)) keys.push_back(key);
  return keys;
}

TEST(Timers, WithoutADeadlineNothingIsDue) {
  Timers timers;
  EXPECT_EQ(timers.next(), Time::max());
  EXPECT_TRUE(due(timers, at(1'000'000)).empty());
}

TEST(Timers, WhatIsDueComesInTheOrderOfDeadlines) {
  Timers timers;
  Time first = Time::max(), second = Time::max(), third = Time::max();
  timers.set(1, at(30), first);
  timers.set(2, at(10), second);
  timers.set(3, at(20), third);
  EXPECT_EQ(timers.next(), at(10));
  EXPECT_EQ(due(timers, at(20)), (std::vector<Timers::Key>{2, 3}));
  EXPECT_EQ(timers.next(), at(30));
}

TEST(Timers, ADeadlineThatIsSetAgainReplacesTheOldOne) {
  Timers timers;
  Time armed = Time::max();
  timers.set(1, at(10), armed);
  timers.set(1, at(50), armed);
  EXPECT_TRUE(due(timers, at(49)).empty());
  EXPECT_EQ(due(timers, at(50)), std::vector<Timers::Key>{1});
}

TEST(Timers, ADeadlineThatIsClearedNeverComes) {
  Timers timers;
  Time armed = Time::max();
  timers.set(1, at(10), armed);
  timers.clear(1, armed);
  EXPECT_EQ(armed, Time::max());
  EXPECT_EQ(timers.next(), Time::max());
  timers.set(1, at(20), armed);
  timers.set(1, Time::max(), armed);
  EXPECT_EQ(timers.next(), Time::max());
}

}  // namespace
}  // namespace cloudbus
