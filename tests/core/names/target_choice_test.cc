// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/target_choice.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace cloudbus {
namespace {

using Order = std::vector<std::size_t>;

class TargetChoiceTest : public testing::Test {
 protected:
  Draw draw() {
    return [this](std::uint64_t n) { return random_() % n; };
  }
  SrvRecord record(std::uint16_t priority, std::uint16_t weight) {
    return {.priority = priority, .weight = weight, .port = 1, .target = "host.example", .ttl = {}};
  }

  std::mt19937_64 random_{1};
  TargetChoice choice_;
};

TEST_F(TargetChoiceTest, TheAddressesOfANameComeInTurn) {
  std::vector<std::uint32_t> record_of = {0, 0, 0};
  EXPECT_EQ(choice_.order(record_of, {}, draw()), (Order{0, 1, 2}));
  EXPECT_EQ(choice_.order(record_of, {}, draw()), (Order{1, 2, 0}));
  EXPECT_EQ(choice_.order(record_of, {}, draw()), (Order{2, 0, 1}));
  EXPECT_EQ(choice_.order(record_of, {}, draw()), (Order{0, 1, 2}));
}

TEST_F(TargetChoiceTest, OneAddressAndNoneAreNoTrouble) {
  EXPECT_EQ(choice_.order(std::vector<std::uint32_t>{0}, {}, draw()), (Order{0}));
  EXPECT_TRUE(choice_.order({}, {}, draw()).empty());
}

TEST_F(TargetChoiceTest, TheAddressesOfAGreaterPriorityNumberComeLast) {
  std::vector<SrvRecord> records = {record(20, 0), record(10, 0)};
  std::vector<std::uint32_t> record_of = {0, 1, 0, 1};
  for (int i = 0; i < 100; i++) {
    Order order = choice_.order(record_of, records, draw());
    ASSERT_EQ(order.size(), 4u);
    EXPECT_EQ(order[0] % 2 + order[1] % 2, 2u) << "the two of priority 10";
  }
}

TEST_F(TargetChoiceTest, WeightsAreOfTheRecordsHoweverManyAddressesTheyHave) {
  std::vector<SrvRecord> records = {record(1, 1), record(1, 3)};
  std::vector<std::uint32_t> record_of = {0, 0, 0, 1};
  std::map<std::uint32_t, int> first;
  for (int i = 0; i < 10'000; i++) first[record_of[choice_.order(record_of, records, draw())[0]]]++;
  EXPECT_NEAR(first[0], 2'500, 250);
  EXPECT_NEAR(first[1], 7'500, 250);
}

TEST_F(TargetChoiceTest, ARecordWithoutAnAddressIsLeftOut) {
  std::vector<SrvRecord> records = {record(1, 1), record(1, 1)};
  EXPECT_EQ(choice_.order(std::vector<std::uint32_t>{1}, records, draw()), (Order{0}));
}

}  // namespace
}  // namespace cloudbus
