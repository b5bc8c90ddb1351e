// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/loop.h"

#include <gtest/gtest.h>

#include <thread>

namespace cloudbus {
namespace {

TEST(Loop, WhatAnotherThreadPostsRunsInTheThreadOfTheLoop) {
  Loop loop;
  std::thread::id ran_in;
  std::thread other([&] {
    loop.post([&] {
      ran_in = std::this_thread::get_id();
      loop.stop();
    });
  });
  loop.run([] {});
  other.join();
  EXPECT_EQ(ran_in, std::this_thread::get_id());
}

TEST(Loop, NothingThatIsPostedIsLost) {
  constexpr int kThreads = 4, kEach = 1000;
  Loop loop;
  int ran = 0;
  std::vector<std::thread> others;
  for (int i = 0; i < kThreads; i++)
    others.emplace_back([&] {
      for (int k = 0; k < kEach; k++) loop.post([&] { ran++; });
    });
  loop.run([&] {
    if (ran == kThreads * kEach) loop.stop();
  });
  for (auto& other : others) other.join();
  EXPECT_EQ(ran, kThreads * kEach);
}

TEST(Loop, AnAlarmBeginsATurnAtItsDeadline) {
  Loop loop;
  Time deadline = loop.now() + std::chrono::milliseconds(20);
  loop.set_alarm(deadline);
  int turns = 0;
  loop.run([&] {
    turns++;
    if (loop.now() >= deadline) return loop.stop();
    loop.set_alarm(deadline);  // a clock may be a little early
  });
  EXPECT_LE(turns, 25) << "a turn for each millisecond at most";
}

TEST(Loop, ATurnThatHasMoreToDoIsFollowedByAnotherWithoutWaiting) {
  Loop loop;
  int turns = 0;
  loop.go_on();
  loop.run([&] {
    if (++turns == 10)
      loop.stop();
    else
      loop.go_on();
  });
  EXPECT_EQ(turns, 10);
}

}  // namespace
}  // namespace cloudbus
