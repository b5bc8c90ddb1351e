// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/diff.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

using std::string;
using Names = std::vector<string>;

Config parse(const string& text, Role role = Role::Controller) {
  auto result = parse_config(role, "f.ini", text);
  EXPECT_EQ(result.errors, Names());
  return std::move(*result.config);
}

string service(const string& name, int port, const string& more = "") {
  return "[" + name + "]\nbind=tcp://127.0.0.1:" + std::to_string(port) + "\nserver=tcp://127.0.0.1:2\n" + more;
}

Names names(const ConfigDiff::Services& services) {
  Names result;
  for (const auto& one : services) result.push_back(one->name);
  return result;
}

const ServiceConfig& find(const ConfigDiff& diff, const string& name) {
  for (const auto& one : diff.after->services)
    if (one->name == name) return *one;
  throw std::out_of_range(name);
}

// One configuration after the other.
class Diff : public ::testing::Test {
 protected:
  ConfigDiff take(const string& text, Role role = Role::Controller) {
    Config config = parse(text, role);
    if (!now_) now_ = std::make_shared<const Config>(empty_config(config));
    ConfigDiff diff = compare(now_, std::move(config));
    now_ = diff.after;
    return diff;
  }

  std::shared_ptr<const Config> now_;
};

TEST_F(Diff, AtTheStartAllServicesAreNew) {
  ConfigDiff diff = take(service("A", 1) + service("B", 3));
  EXPECT_EQ(names(diff.added), (Names{"A", "B"}));
  EXPECT_EQ(find(diff, "A").id, 1u);
  EXPECT_EQ(find(diff, "B").id, 2u);
  EXPECT_NE(find(diff, "A").binds[0].id, find(diff, "B").binds[0].id);
}

TEST_F(Diff, TheSameFileIsNoDifference) {
  string text = service("A", 1, "mode=publish\nhealth=tcp 1 s\n") + service("B", 3);
  ConfigDiff first = take(text);
  ConfigDiff second = take(text);
  EXPECT_TRUE(second.is_empty());
  EXPECT_EQ(second.unchanged, 2u);
  EXPECT_EQ(first.after->services, second.after->services) << "the very objects";
}

TEST_F(Diff, WhereAServiceStandsIsNoDifference) {
  take(service("A", 1) + service("B", 3));
  ConfigDiff diff = take("; a comment\n\n" + service("B", 3) + "\n" + service("A", 1));
  EXPECT_TRUE(diff.is_empty());
}

TEST_F(Diff, EverySettingIsADifference) {
  const string settings[] = {"server=tcp://127.0.0.1:3\n",
                             "bind=tcp://127.0.0.1:9\n",
                             "service=B\n",
                             "socket_mode=0600\n",
                             "socket_group=12345\n",
                             "connect_timeout=1 s\n",
                             "idle_timeout=1 s\n",
                             "half_close_timeout=1 s\n",
                             "resume=1 s\n",
                             "links=2\n",
                             "links=auto\n",
                             "priority=3\n",
                             "health=tcp 1 s\n",
                             "refresh=immediate\n",
                             "mode=publish\n"};
  for (const string& setting : settings) {
    now_.reset();
    take(service("A", 1));
    EXPECT_EQ(names(take(service("A", 1, setting)).changed), Names{"A"}) << setting;
  }
  const string of_several[] = {"mode=publish\n", "mode=full duplex\n", "balance=hash\nmode=balance\n",
                               "fanout=1\n",     "quorum=2\n",         "lag_limit=1M\n"};
  for (const string& setting : of_several) {
    now_.reset();
    string two = "server=tcp://127.0.0.1:3\n";
    take(service("A", 1, two));
    EXPECT_EQ(names(take(service("A", 1, two + setting)).changed), Names{"A"}) << setting;
  }
}

TEST_F(Diff, ServicesKeepTheirIdsAndNoneIsGivenAwayTwice) {
  take(service("A", 1) + service("B", 3));
  ConfigDiff diff = take(service("C", 5) + service("B", 3, "links=2\n"));
  EXPECT_EQ(names(diff.added), Names{"C"});
  EXPECT_EQ(names(diff.changed), Names{"B"});
  EXPECT_EQ(names(diff.removed), Names{"A"});
  EXPECT_EQ(find(diff, "B").id, 2u);
  EXPECT_EQ(find(diff, "C").id, 3u);
  diff = take(service("A", 1) + service("B", 3, "links=2\n"));
  EXPECT_EQ(find(diff, "A").id, 4u) << "the first A may still be draining";
}

TEST_F(Diff, ABindKeepsItsIdWhenItMovesToAnotherService) {
  ConfigDiff diff = take(service("A", 1) + service("B", 3));
  BindId first = find(diff, "A").binds[0].id, second = find(diff, "B").binds[0].id;
  diff = take(service("A", 3) + service("B", 1));
  EXPECT_EQ(find(diff, "A").binds[0].id, second);
  EXPECT_EQ(find(diff, "B").binds[0].id, first);
  diff = take(service("C", 1));
  EXPECT_EQ(find(diff, "C").binds[0].id, first);
}

TEST_F(Diff, BindsOfPortZeroStayWithTheirServices) {
  ConfigDiff diff = take(service("A", 0, "bind=tcp://127.0.0.1:0\n") + service("B", 0));
  auto ids = [&](const string& name) {
    std::vector<BindId> result;
    for (const BindConfig& bind : find(diff, name).binds) result.push_back(bind.id);
    return result;
  };
  auto of_a = ids("A"), of_b = ids("B");
  diff = take(service("B", 0) + service("A", 0, "bind=tcp://127.0.0.1:0\n"));
  EXPECT_EQ(ids("A"), of_a);
  EXPECT_EQ(ids("B"), of_b);
  diff = take(service("A", 0) + service("B", 0, "bind=tcp://127.0.0.1:0\n"));
  EXPECT_EQ(ids("A"), std::vector<BindId>{of_a[0]});
  EXPECT_EQ(ids("B"), (std::vector<BindId>{of_b[0], of_a[1]}));
}

TEST_F(Diff, ASharedBindThatBecomesAServicesOwnKeepsItsId) {
  const string shared = "[Cloudbus]\nbind=tcp://127.0.0.1:9\n";
  ConfigDiff diff = take(shared + "[A]\nserver=tcp://127.0.0.1:2\n", Role::Segment);
  BindId id = diff.after->shared_binds[0].id;
  EXPECT_NE(id, 0u);
  diff = take("[A]\nbind=tcp://127.0.0.1:9\nserver=tcp://127.0.0.1:2\n", Role::Segment);
  EXPECT_EQ(find(diff, "A").binds[0].id, id);
}

TEST_F(Diff, ThreadsStayAsTheyWere) {
  take("[Cloudbus]\nthreads=2\n" + service("A", 1));
  ConfigDiff diff = take("[Cloudbus]\nthreads=3\n" + service("A", 1));
  EXPECT_EQ(diff.postponed, std::vector<std::string_view>{"threads"});
  EXPECT_EQ(diff.after->threads, 2);
}

TEST_F(Diff, BindsThatComeMoveAndGoAreNamed) {
  ConfigDiff diff = take(service("A", 1) + service("B", 3));
  EXPECT_EQ(diff.binds_added.size(), 2u);
  diff = take(service("A", 1, "links=3\n") + service("B", 3));
  EXPECT_FALSE(diff.moves_binds());
  BindId moved = find(diff, "A").binds[0].id, gone = find(diff, "B").binds[0].id;
  diff = take(service("C", 1) + service("B", 5, "socket_mode=0600\n"));
  ASSERT_EQ(diff.binds_added.size(), 1u);
  EXPECT_EQ(diff.binds_added[0].bind.endpoint.to_string(), "tcp://127.0.0.1:5");
  EXPECT_EQ(diff.binds_added[0].subject, "B");
  ASSERT_EQ(diff.binds_changed.size(), 1u);
  EXPECT_EQ(diff.binds_changed[0].bind.id, moved);
  EXPECT_EQ(diff.binds_changed[0].subject, "C");
  EXPECT_EQ(diff.binds_removed, std::vector<BindId>{gone});
  diff = take(service("C", 1) + service("B", 5, "socket_mode=0622\n"));
  ASSERT_EQ(diff.binds_changed.size(), 1u);
  EXPECT_EQ(diff.binds_changed[0].mode, 0622u);
}

}  // namespace
}  // namespace cloudbus
