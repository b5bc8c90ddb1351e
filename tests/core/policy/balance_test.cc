// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/policy/balance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "core/random.h"

namespace cloudbus {
namespace {

using Policy = BalancePolicy;
using Order = std::vector<ServerIndex>;
using Names = std::vector<std::string>;

constexpr int kClients = 10'000;

Names servers(std::size_t count) {
  Names names;
  for (std::size_t i = 0; i < count; i++) names.push_back("tcp://10.0.0." + std::to_string(i + 1) + ":9000");
  return names;
}

std::string client(int number) {
  return "192.168." + std::to_string(number / 250) + "." + std::to_string(number % 250 + 1);
}

Order order_of(Balance& balance, std::string_view client = {}, std::uint64_t random = 0) {
  Order order;
  balance.order(client, random, order);
  return order;
}

// The first server for a client, with which a conversation begins.
ServerIndex begin(Balance& balance, std::uint64_t random = 0) {
  ServerIndex server = order_of(balance, {}, random).front();
  balance.begin(server);
  return server;
}

// The names of the first `most` servers for a client, by Hash.
Names ranked(Balance& balance, const Names& names, const std::string& client, std::size_t most) {
  Names result;
  for (ServerIndex server : order_of(balance, client)) {
    if (result.size() < most) result.push_back(names[server]);
  }
  return result;
}

TEST(Balance, EveryPolicyListsEveryServerOnce) {
  Random random(1);
  for (BalancePolicy policy :
       {Policy::RoundRobin, Policy::LeastConnections, Policy::Random, Policy::Hash, Policy::First}) {
    for (std::size_t count : {1, 2, 3, 12, 1000}) {
      Balance balance(policy, servers(count));
      for (int i = 0; i < 20; i++) {
        Order order = order_of(balance, client(i), random.next());
        balance.begin(order.front());
        std::ranges::sort(order);
        Order all(count);
        std::iota(all.begin(), all.end(), 0);
        ASSERT_EQ(order, all);
      }
    }
  }
}

TEST(Balance, WhatTheOrderHoldsAlreadyStays) {
  Balance balance(Policy::First, servers(2));
  Order order = {7};
  balance.order({}, 0, order);
  EXPECT_EQ(order, (Order{7, 0, 1}));
}

TEST(Balance, FirstKeepsTheOrderOfTheConfiguration) {
  Balance balance(Policy::First, servers(3));
  for (int i = 0; i < 5; i++) {
    EXPECT_EQ(order_of(balance), (Order{0, 1, 2}));
    balance.begin(0);
  }
}

TEST(Balance, RoundRobinGoesThroughAllServersAndBeginsAgain) {
  Balance balance(Policy::RoundRobin, servers(3));
  for (Order expected : {Order{0, 1, 2}, Order{1, 2, 0}, Order{2, 0, 1}, Order{0, 1, 2}}) {
    EXPECT_EQ(order_of(balance), expected);
    balance.begin(expected.front());
  }
}

TEST(Balance, RoundRobinStartsWhereItIsTold) {
  Balance balance(Policy::RoundRobin, servers(3), 5);
  EXPECT_EQ(order_of(balance), (Order{2, 0, 1}));
}

TEST(Balance, RoundRobinSpreadsTheShareOfAServerThatIsPassedOver) {
  Balance balance(Policy::RoundRobin, servers(4));
  for (int i = 0; i < 300; i++) {
    Order order = order_of(balance);
    balance.begin(order[order[0] == 1 ? 1 : 0]);
  }
  for (ServerIndex server : {0, 2, 3}) EXPECT_EQ(balance.load(server), 100u);
}

TEST(Balance, RoundRobinOfSeveralServersForAClientIsEvenToo) {
  Balance balance(Policy::RoundRobin, servers(5));
  for (int i = 0; i < 100; i++) {
    Order order = order_of(balance);
    balance.begin(order[0]);
    balance.begin(order[1]);
  }
  for (ServerIndex server = 0; server < 5; server++) EXPECT_EQ(balance.load(server), 40u);
}

TEST(Balance, LeastConnectionsSortsByLoad) {
  Balance balance(Policy::LeastConnections, servers(3));
  for (ServerIndex server : {0, 0, 0, 1, 2, 2}) balance.begin(server);
  EXPECT_EQ(order_of(balance), (Order{1, 2, 0}));
  for (int i = 0; i < 3; i++) balance.end(0);
  EXPECT_EQ(order_of(balance), (Order{0, 1, 2}));
}

TEST(Balance, LeastConnectionsGoesRoundAmongEquals) {
  Balance balance(Policy::LeastConnections, servers(3));
  balance.begin(1);  // and stays
  std::map<ServerIndex, int> chosen;
  for (int i = 0; i < 100; i++) {
    ServerIndex server = begin(balance);
    balance.end(server);
    chosen[server]++;
  }
  EXPECT_EQ(chosen, (std::map<ServerIndex, int>{{0, 50}, {2, 50}}));
}

TEST(Balance, RandomTakesTheLessLoadedOfTwo) {
  Balance balance(Policy::Random, servers(2));
  balance.begin(0);
  Random random(2);
  for (int i = 0; i < 100; i++) EXPECT_EQ(order_of(balance, {}, random.next()), (Order{1, 0}));
}

TEST(Balance, RandomDrawsEveryServerAsOftenWhileAllAreIdle) {
  Balance balance(Policy::Random, servers(12));
  Random random(3);
  std::vector<std::vector<int>> seen(12, std::vector<int>(12));  // by place and server
  for (int i = 0; i < kClients; i++) {
    Order order = order_of(balance, {}, random.next());
    for (std::size_t place = 0; place < order.size(); place++) seen[place][order[place]]++;
  }
  for (const auto& place : seen) {
    for (int times : place) EXPECT_NEAR(times, kClients / 12, 200);
  }
}

TEST(Balance, RandomKeepsTheLoadsCloseTogether) {
  Balance balance(Policy::Random, servers(12));
  Random random(4);
  for (int i = 0; i < kClients; i++) begin(balance, random.next());
  for (ServerIndex server = 0; server < 12; server++) {
    EXPECT_NEAR(static_cast<double>(balance.load(server)), kClients / 12.0, 10);  // of one at random: about 80
  }
}

TEST(Balance, RandomHangsOnTheNumberOnly) {
  Balance one(Policy::Random, servers(12)), other(Policy::Random, servers(12));
  EXPECT_EQ(order_of(one, "a", 5), order_of(other, "b", 5));
}

class HashBalance : public testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Servers, HashBalance, testing::Values(3, 12));

TEST_P(HashBalance, TheFullestServerIsWithinOneAndAQuarterOfTheMean) {
  Balance balance(Policy::Hash, servers(GetParam()));
  for (int i = 0; i < kClients; i++) balance.begin(order_of(balance, client(i)).front());
  for (ServerIndex server = 0; server < GetParam(); server++) {
    EXPECT_LT(static_cast<double>(balance.load(server)), 1.25 * kClients / static_cast<double>(GetParam()));
  }
}

TEST_P(HashBalance, WhenAServerGoesOnlyItsClientsMove) {
  Names before = servers(GetParam()), after = before;
  after.erase(after.begin() + 1);
  Balance full(Policy::Hash, before), less(Policy::Hash, after);
  int moved = 0;
  for (int i = 0; i < kClients; i++) {
    Names was = ranked(full, before, client(i), 2), is = ranked(less, after, client(i), 1);
    if (was[0] == before[1]) {
      EXPECT_EQ(is[0], was[1]) << "the next in the order takes its place";
      moved++;
    } else {
      EXPECT_EQ(is[0], was[0]);
    }
  }
  EXPECT_NEAR(moved, kClients / static_cast<double>(GetParam()), 0.25 * kClients / static_cast<double>(GetParam()));
}

TEST_P(HashBalance, WhenAServerComesItTakesItsShareFromAllOthers) {
  Names before = servers(GetParam()), after = before;
  after.insert(after.begin(), "unix:///run/new.sock");
  Balance less(Policy::Hash, before), more(Policy::Hash, after);
  std::map<std::string, int> taken;
  for (int i = 0; i < kClients; i++) {
    Names was = ranked(less, before, client(i), 1), is = ranked(more, after, client(i), 1);
    if (was == is) continue;
    EXPECT_EQ(is[0], after[0]);
    taken[was[0]]++;
  }
  EXPECT_EQ(taken.size(), GetParam());
  int moved = 0;
  for (const auto& [name, clients] : taken) moved += clients;
  double share = kClients / static_cast<double>(GetParam() + 1);
  EXPECT_NEAR(moved, share, 0.25 * share);
}

TEST_P(HashBalance, TheOrderInWhichServersAreListedDoesNotMatter) {
  Names straight = servers(GetParam()), reversed(straight.rbegin(), straight.rend());
  Balance one(Policy::Hash, straight), other(Policy::Hash, reversed);
  for (int i = 0; i < kClients; i++) {
    ASSERT_EQ(ranked(one, straight, client(i), GetParam()), ranked(other, reversed, client(i), GetParam()));
  }
}

TEST(Balance, TheFirstServersOfAHashStayWhenAnotherGoes) {
  constexpr std::size_t kLegs = 3;
  Names before = servers(12), after = before;
  after.erase(after.begin() + 4);
  Balance full(Policy::Hash, before), less(Policy::Hash, after);
  for (int i = 0; i < kClients; i++) {
    Names was = ranked(full, before, client(i), kLegs + 1), is = ranked(less, after, client(i), kLegs);
    std::erase(was, before[4]);
    was.resize(kLegs);
    ASSERT_EQ(is, was);
  }
}

TEST(Balance, HashIsTheSameInEveryVersion) {
  Balance balance(Policy::Hash, servers(5));
  EXPECT_EQ(order_of(balance, "127.0.0.1"), (Order{1, 3, 0, 4, 2}));
  EXPECT_EQ(order_of(balance, "1000"), (Order{0, 2, 1, 4, 3}));
}

TEST(Balance, HashRegardsNeitherLoadNorChance) {
  Balance balance(Policy::Hash, servers(12));
  Order order = order_of(balance, "10.1.2.3");
  for (int i = 0; i < 100; i++) balance.begin(order.front());
  EXPECT_EQ(order_of(balance, "10.1.2.3", 99), order);
}

TEST(Balance, ServersThatCameAndWentLeaveTheNumbersOfTheOthers) {
  Balance balance(Policy::RoundRobin, servers(3));
  balance.begin(0);
  balance.set(Policy::RoundRobin, std::vector<Balance::Server>{{2, "c"}, {5, "f"}, {1, "b"}});
  EXPECT_EQ(order_of(balance), (Order{1, 2, 5})) << "the round robin goes on behind the one that was begun last";
  balance.begin(1);
  EXPECT_EQ(order_of(balance), (Order{2, 5, 1}));
}

TEST(Balance, AServerThatHasGoneCanStillBeEnded) {
  Balance balance(Policy::LeastConnections, servers(2));
  balance.begin(0);
  balance.begin(1);
  balance.set(Policy::LeastConnections, std::vector<Balance::Server>{{1, "b"}});
  balance.end(0);
  EXPECT_EQ(balance.load(0), 0u);
  balance.set(Policy::LeastConnections, std::vector<Balance::Server>{{1, "b"}, {0, "a"}});
  EXPECT_EQ(order_of(balance), (Order{0, 1})) << "one has a conversation, and the one that came back has none";
}

TEST(Balance, APolicyMayChangeWhileServersHaveConversations) {
  Balance balance(Policy::First, servers(3));
  balance.begin(0);
  balance.begin(0);
  balance.begin(1);
  balance.set(Policy::LeastConnections, std::vector<Balance::Server>{{0, "a"}, {1, "b"}, {2, "c"}});
  EXPECT_EQ(order_of(balance), (Order{2, 1, 0}));
}

}  // namespace
}  // namespace cloudbus
