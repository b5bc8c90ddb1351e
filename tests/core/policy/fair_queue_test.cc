// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/policy/fair_queue.h"

#include <gtest/gtest.h>

#include <string>

namespace cloudbus {
namespace {

using Queue = FairQueue<std::string, int>;

TEST(FairQueue, OwnersTakeTurnsWhoeverHasHowMany) {
  Queue queue;
  for (int thing : {1, 2, 3, 4}) queue.push("many", thing);
  queue.push("few", 10);
  std::vector<int> taken;
  while (auto entry = queue.take()) taken.push_back(entry->second);
  EXPECT_EQ(taken, (std::vector{1, 10, 2, 3, 4}));
  EXPECT_TRUE(queue.is_empty());
}

TEST(FairQueue, AnOwnerWhoMayNotIsPassedOver) {
  Queue queue;
  queue.push("blocked", 1);
  queue.push("free", 2);
  auto may = [](const std::string& owner) { return owner != "blocked"; };
  EXPECT_EQ(queue.take(may)->second, 2);
  EXPECT_FALSE(queue.take(may));
  EXPECT_FALSE(queue.has(may));
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_EQ(queue.take()->second, 1);
}

TEST(FairQueue, WhatComesBackIsFirstAgain) {
  Queue queue;
  queue.push("one", 1);
  queue.push("one", 2);
  queue.push_front("one", queue.take()->second);
  EXPECT_EQ(queue.take()->second, 1);
}

TEST(FairQueue, WhatIsTakenOutLeavesTheOthersInOrder) {
  Queue queue;
  for (int thing : {1, 2, 3}) queue.push("one", thing);
  queue.push("other", 4);
  auto taken = queue.take_all([](int thing) { return thing % 2 == 0; });
  ASSERT_EQ(taken.size(), 2u);
  EXPECT_EQ(taken[0], std::make_pair(std::string("one"), 2));
  EXPECT_EQ(taken[1], std::make_pair(std::string("other"), 4));
  EXPECT_EQ(queue.size(), 2u);
  EXPECT_EQ(queue.take()->second, 1);
  EXPECT_EQ(queue.take()->second, 3);
}

}  // namespace
}  // namespace cloudbus
