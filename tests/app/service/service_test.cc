// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/service/service.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

using Indices = std::vector<ServerIndex>;

class Recorded final : public Service {
 public:
  Recorded() : Service(7, 0) {}

  Indices added, removed;

 private:
  void on_server_added(ServerIndex server) override { added.push_back(server); }
  void on_server_removed(ServerIndex server) override { removed.push_back(server); }
};

std::shared_ptr<const ServiceConfig> with_servers(std::initializer_list<int> ports,
                                                  BalancePolicy policy = BalancePolicy::RoundRobin) {
  auto config = std::make_shared<ServiceConfig>();
  config->name = "Orders";
  config->balance = policy;
  for (int port : ports)
    config->servers.push_back({*parse_endpoint("tcp://10.0.0.1:" + std::to_string(port)).endpoint});
  return config;
}

Indices indices(const Service& service) { return {service.servers().begin(), service.servers().end()}; }

TEST(Service, ServersAreNumberedInTheirOrder) {
  Recorded service;
  service.apply(with_servers({1, 2, 3}));
  EXPECT_EQ(indices(service), (Indices{0, 1, 2}));
  EXPECT_EQ(service.added, (Indices{0, 1, 2}));
  EXPECT_EQ(service.endpoint(2).to_string(), "tcp://10.0.0.1:3");
}

TEST(Service, AServerKeepsItsNumberWhileOthersComeAndGo) {
  Recorded service;
  service.apply(with_servers({1, 2, 3}));
  ServiceRef conversation = service.current();
  service.apply(with_servers({9, 3, 2}));
  EXPECT_EQ(indices(service), (Indices{3, 2, 1}));
  EXPECT_EQ(service.removed, Indices{0});
  EXPECT_FALSE(service.is_current(0));
  EXPECT_EQ(service.endpoint(0).to_string(), "tcp://10.0.0.1:1") << "a conversation may name it";
}

TEST(Service, ANumberIsGivenAwayAgainOnlyWhenNoConversationCanReferToIt) {
  Recorded service;
  service.apply(with_servers({1, 2}));
  ServiceRef conversation = service.current();
  service.apply(with_servers({2}));
  service.apply(with_servers({2, 3}));
  EXPECT_EQ(indices(service), (Indices{1, 2})) << "0 may be in use";
  conversation = {};
  service.apply(with_servers({2, 3, 4}));
  EXPECT_EQ(indices(service), (Indices{1, 2, 0}));
}

TEST(Service, AThousandChangesTakeNoMoreNumbersThanServers) {
  Recorded service;
  for (int i = 0; i < 1000; i++) {
    service.apply(with_servers({i + 1, i + 2}));
    for (ServerIndex index : service.servers()) ASSERT_LT(index, 4u);
  }
}

TEST(Service, AConversationKeepsTheConfigurationThatItBeganWith) {
  Recorded service;
  service.apply(with_servers({1}));
  ServiceRef before = service.current();
  service.apply(with_servers({1, 2}));
  ServiceRef after = service.current();
  EXPECT_EQ(before->servers.size(), 1u);
  EXPECT_EQ(after->servers.size(), 2u);
  EXPECT_EQ(&before.service(), &after.service());
}

TEST(Service, LoadsStayRightWhenServersComeAndGo) {
  Recorded service;
  service.apply(with_servers({1, 2}, BalancePolicy::LeastConnections));
  ServiceRef conversation = service.current();
  service.balance().begin(0);
  service.balance().begin(1);
  service.balance().begin(1);
  service.apply(with_servers({2, 3}, BalancePolicy::LeastConnections));
  std::vector<ServerIndex> order;
  service.balance().order("", 0, order);
  EXPECT_EQ(order, (Indices{2, 1})) << "the new one has none, the old one still has two";
  service.balance().end(0);
  service.balance().end(1);
  service.balance().end(1);
  EXPECT_EQ(service.balance().load(0), 0u);
  EXPECT_EQ(service.balance().load(1), 0u);
}

TEST(Service, ItIsOverWhenItWasRemovedAndItsLastConversationHasGone) {
  Recorded service;
  service.apply(with_servers({1}));
  ServiceRef conversation = service.current();
  EXPECT_FALSE(service.is_over());
  service.retire();
  EXPECT_TRUE(service.is_retired());
  EXPECT_FALSE(service.is_over());
  EXPECT_EQ(indices(service), Indices{0}) << "its servers serve what has begun";
  conversation = {};
  EXPECT_TRUE(service.is_over());
  service.remove_servers();
  EXPECT_EQ(service.removed, Indices{0});
}

}  // namespace
}  // namespace cloudbus
