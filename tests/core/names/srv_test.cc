// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/srv.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/random.h"

namespace cloudbus {
namespace {

using Records = std::vector<SrvRecord>;
using Targets = std::vector<std::string>;

constexpr int kChoices = 10'000;

SrvRecord record(std::uint16_t priority, std::uint16_t weight, std::string target) {
  return {priority, weight, 9, std::move(target), std::chrono::seconds(60)};
}

Targets order_of(const Records& records, const Draw& draw) {
  Targets targets;
  for (std::size_t place : srv_order(records, draw)) targets.push_back(records[place].target);
  return targets;
}

Draw draw_from(Random& random) {
  return [&random](std::uint64_t n) { return random.below(n); };
}

// How often each target came first.
std::map<std::string, int> first_choices(const Records& records, std::uint64_t seed) {
  Random random(seed);
  std::map<std::string, int> chosen;
  for (int i = 0; i < kChoices; i++) chosen[order_of(records, draw_from(random)).front()]++;
  return chosen;
}

void expect_within_a_tenth(int times, double share) { EXPECT_NEAR(times, kChoices * share, kChoices * share / 10); }

// "Fictional example" of RFC 2782: "make three quarters of the logins go to new-fast-box", and "if neither old-slow-box
// or new-fast-box is up, switch to using the sysdmin's box and the server".
const Records kFoobar = {record(0, 1, "old-slow-box.example.com"), record(0, 3, "new-fast-box.example.com"),
                         record(1, 0, "sysadmins-box.example.com"), record(1, 0, "server.example.com")};

TEST(Srv, Rfc2782FictionalExampleGivesThreeQuartersToTheFastBox) {
  auto chosen = first_choices(kFoobar, 1);
  expect_within_a_tenth(chosen["new-fast-box.example.com"], 0.75);
  expect_within_a_tenth(chosen["old-slow-box.example.com"], 0.25);
  EXPECT_EQ(chosen.size(), 2u);
}

TEST(Srv, Rfc2782FictionalExampleKeepsTheSparesForLast) {
  Random random(2);
  const std::set<std::string> boxes = {"old-slow-box.example.com", "new-fast-box.example.com"};
  const std::set<std::string> spares = {"sysadmins-box.example.com", "server.example.com"};
  std::map<std::string, int> first_spare;
  for (int i = 0; i < kChoices; i++) {
    Targets order = order_of(kFoobar, draw_from(random));
    ASSERT_EQ(order.size(), 4u);
    ASSERT_EQ(std::set(order.begin(), order.begin() + 2), boxes);
    ASSERT_EQ(std::set(order.begin() + 2, order.end()), spares);
    first_spare[order[2]]++;
  }
  for (const auto& [spare, times] : first_spare) expect_within_a_tenth(times, 0.5);
}

TEST(Srv, Rfc2782FictionalExampleSupportsNoOtherService) {
  Records none = {{0, 0, 0, ".", {}}};
  EXPECT_TRUE(is_no_service(none));
  Random random(3);
  EXPECT_EQ(order_of(none, draw_from(random)), Targets());
}

TEST(Srv, OnlyALoneRecordSaysThatThereIsNoService) {
  EXPECT_FALSE(is_no_service({}));
  EXPECT_FALSE(is_no_service(kFoobar));
  Records records = {record(0, 9, "."), record(1, 0, "a")};
  EXPECT_FALSE(is_no_service(records));
  Random random(4);
  EXPECT_EQ(order_of(records, draw_from(random)), Targets({"a"}));
}

TEST(Srv, ALowerPriorityNumberComesFirstWhereverItStands) {
  Records records = {record(65535, 1, "d"), record(2, 9, "c"), record(0, 0, "a"), record(1, 65535, "b")};
  Random random(5);
  for (int i = 0; i < 100; i++) EXPECT_EQ(order_of(records, draw_from(random)), Targets({"a", "b", "c", "d"}));
}

TEST(Srv, EqualWeightsAreChosenEqually) {
  auto chosen = first_choices({record(0, 1, "a"), record(0, 1, "b")}, 6);
  for (const auto& [target, times] : chosen) expect_within_a_tenth(times, 0.5);
}

TEST(Srv, WeightsAreSharesOfTheirSum) {
  auto chosen = first_choices({record(0, 10, "a"), record(0, 20, "b"), record(0, 30, "c"), record(0, 40, "d")}, 7);
  expect_within_a_tenth(chosen["a"], 0.1);
  expect_within_a_tenth(chosen["b"], 0.2);
  expect_within_a_tenth(chosen["c"], 0.3);
  expect_within_a_tenth(chosen["d"], 0.4);
}

TEST(Srv, TheSecondChoiceIsByTheWeightsOfThoseThatAreLeft) {
  Records records = {record(0, 60, "a"), record(0, 10, "b"), record(0, 30, "c")};
  Random random(8);
  std::map<std::string, int> second;
  int times = 0;
  while (times < kChoices) {
    Targets order = order_of(records, draw_from(random));
    if (order.front() != "a") continue;
    second[order[1]]++;
    times++;
  }
  expect_within_a_tenth(second["b"], 0.25);
  expect_within_a_tenth(second["c"], 0.75);
}

TEST(Srv, TheLargestWeightsDoNotOverflow) {
  Records records;
  for (int i = 0; i < 20; i++) records.push_back(record(0, 65535, std::to_string(i)));
  for (const auto& [target, times] : first_choices(records, 9)) EXPECT_NEAR(times, kChoices / 20, 100);
}

TEST(Srv, AmongWeightsOfZeroAllAreAsLikely) {
  auto chosen = first_choices({record(7, 0, "a"), record(7, 0, "b"), record(7, 0, "c"), record(7, 0, "d")}, 10);
  for (const auto& [target, times] : chosen) expect_within_a_tenth(times, 0.25);
}

TEST(Srv, WeightZeroHasAVerySmallChanceBesideOthers) {
  auto chosen = first_choices({record(0, 0, "a"), record(0, 1, "b"), record(0, 0, "c")}, 11);
  EXPECT_GT(chosen["b"], kChoices - 100);
  EXPECT_LT(chosen["b"], kChoices);
}

TEST(Srv, EachDrawIsFromTheSharesThatAreLeft) {
  std::vector<std::uint64_t> bounds;
  auto last = [&bounds](std::uint64_t n) {
    bounds.push_back(n);
    return n - 1;
  };
  EXPECT_EQ(order_of({record(0, 1, "a"), record(0, 0, "b"), record(0, 3, "c"), record(1, 5, "d")}, last),
            Targets({"c", "a", "b", "d"}));
  EXPECT_EQ(bounds, (std::vector<std::uint64_t>{4001, 1001}));
}

TEST(Srv, NoRecordsHaveAnEmptyOrder) {
  Random random(12);
  EXPECT_EQ(order_of({}, draw_from(random)), Targets());
}

}  // namespace
}  // namespace cloudbus
