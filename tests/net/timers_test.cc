// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/timers.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace cloudbus {
namespace {

Time at(int milliseconds) { return Time{} + std::chrono::milliseconds(milliseconds); }

void run(Timers& timers, Time now) {
  while (TimerOwner* owner = timers.take_due(now)) owner->on_deadline(now);
}

struct Clock {
  Timers timers;
  std::vector<int> rung;
  Timer first{timers, [this] { rung.push_back(1); }};
  Timer second{timers, [this] { rung.push_back(2); }};
  Timer third{timers, [this] { rung.push_back(3); }};
};

TEST(Timers, WithoutADeadlineNothingIsDue) {
  Clock clock;
  EXPECT_EQ(clock.timers.next(), Time::max());
  run(clock.timers, at(1'000'000));
  EXPECT_TRUE(clock.rung.empty());
}

TEST(Timers, WhatIsDueComesInTheOrderOfDeadlines) {
  Clock clock;
  clock.first.set(at(30));
  clock.second.set(at(10));
  clock.third.set(at(20));
  EXPECT_EQ(clock.timers.next(), at(10));
  run(clock.timers, at(20));
  EXPECT_EQ(clock.rung, (std::vector<int>{2, 3}));
  EXPECT_EQ(clock.timers.next(), at(30));
  EXPECT_TRUE(clock.first.is_set());
  EXPECT_FALSE(clock.second.is_set());
}

TEST(Timers, ADeadlineThatIsSetAgainReplacesTheOldOne) {
  Clock clock;
  clock.first.set(at(10));
  clock.first.set(at(50));
  run(clock.timers, at(49));
  EXPECT_TRUE(clock.rung.empty());
  run(clock.timers, at(50));
  EXPECT_EQ(clock.rung, std::vector<int>{1});
}

TEST(Timers, ADeadlineThatIsClearedNeverComes) {
  Clock clock;
  clock.first.set(at(10));
  clock.first.clear();
  EXPECT_EQ(clock.first.deadline(), Time::max());
  EXPECT_EQ(clock.timers.next(), Time::max());
  clock.first.set(at(20));
  clock.first.set(Time::max());
  EXPECT_EQ(clock.timers.next(), Time::max());
}

TEST(Timers, ATimerThatIsDestroyedByAnotherOneNeverRings) {
  Timers timers;
  int rung = 0;
  auto victim = std::make_unique<Timer>(timers, [&] { rung++; });
  Timer killer(timers, [&] { victim.reset(); });
  killer.set(at(10));
  victim->set(at(20));
  run(timers, at(30));
  EXPECT_EQ(rung, 0);
  EXPECT_EQ(timers.next(), Time::max());
}

TEST(Timers, ATimerMaySetItselfAgainWhileItRings) {
  Timers timers;
  int rung = 0;
  Timer timer(timers, [&] {
    if (++rung < 3) timer.set(at(10 * (rung + 1)));
  });
  timer.set(at(10));
  run(timers, at(15));
  EXPECT_EQ(rung, 1);
  run(timers, at(100));
  EXPECT_EQ(rung, 3);
}

}  // namespace
}  // namespace cloudbus
