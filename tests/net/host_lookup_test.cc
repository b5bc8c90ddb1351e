// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/host_lookup.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

namespace cloudbus {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Family = HostLookup::Family;
using State = HostLookup::State;

constexpr Time kStart{hours(1)};

DnsAnswer<HostRecord> address(const char* text, Duration ttl) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
    return DnsRecords<HostRecord>{{{Address::from_sockaddr(reinterpret_cast<sockaddr*>(&in), sizeof in), ttl}}, ttl};
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  EXPECT_EQ(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
  return DnsRecords<HostRecord>{{{Address::from_sockaddr(reinterpret_cast<sockaddr*>(&in6), sizeof in6), ttl}}, ttl};
}
DnsAnswer<HostRecord> nothing(Duration ttl) { return DnsAbsence{false, ttl}; }
DnsAnswer<HostRecord> failure() { return DnsFailure{"SERVFAIL"}; }

HostLookup asking(std::vector<std::string> names = {"host"}) {
  HostLookup lookup(std::move(names));
  EXPECT_EQ(lookup.state(), State::Asking);
  lookup.ask();
  return lookup;
}

// "ADDRESS ..., TTL in seconds", "none, TTL" or the reason of the failure.
std::string text(const HostLookup& lookup) {
  auto answer = lookup.result().answer;
  if (auto* why = std::get_if<DnsFailure>(&answer)) return why->reason;
  if (auto* absence = std::get_if<DnsAbsence>(&answer)) return "none, " + std::to_string(absence->ttl / seconds(1));
  auto& found = std::get<DnsRecords<HostRecord>>(answer);
  std::string addresses;
  for (const HostRecord& record : found.records) addresses += record.address.to_string() + " ";
  return addresses + std::to_string(found.ttl / seconds(1));
}

TEST(HostLookup, BothFamiliesAreHadWithTheSmallerTtlInWhateverOrderTheyCome) {
  HostLookup lookup = asking();
  lookup.on_answer(Family::Ipv6, address("::1", seconds(60)), kStart);
  EXPECT_EQ(lookup.state(), State::Waiting);
  lookup.on_answer(Family::Ipv4, address("127.0.0.1", seconds(30)), kStart);
  EXPECT_EQ(lookup.state(), State::Over);
  EXPECT_EQ(text(lookup), "127.0.0.1:0 [::1]:0 30");
  EXPECT_EQ(lookup.result().unknown, AF_UNSPEC);
}

TEST(HostLookup, OneFamilyIsHad50MillisecondsAfterItsAnswer) {
  HostLookup lookup = asking();
  EXPECT_EQ(lookup.part_at(), Time::max());
  lookup.on_answer(Family::Ipv4, address("127.0.0.1", seconds(30)), kStart);
  EXPECT_EQ(lookup.part_at(), kStart + milliseconds(50));
  EXPECT_EQ(text(lookup), "127.0.0.1:0 30");
  EXPECT_EQ(lookup.result().unknown, AF_INET6);
}

TEST(HostLookup, ThatThereIsNothingOfOneFamilyWaitsForTheOther) {
  HostLookup lookup = asking();
  lookup.on_answer(Family::Ipv6, nothing(seconds(60)), kStart);
  EXPECT_EQ(lookup.part_at(), Time::max());
  lookup.on_answer(Family::Ipv4, address("127.0.0.1", seconds(300)), kStart);
  EXPECT_EQ(text(lookup), "127.0.0.1:0 300");
  EXPECT_EQ(lookup.result().unknown, AF_UNSPEC) << "it has no IPv6 address, which is known";
}

TEST(HostLookup, AFamilyThatFailsIsUnknownBesideTheOther) {
  HostLookup lookup = asking();
  lookup.on_answer(Family::Ipv4, failure(), kStart);
  lookup.on_answer(Family::Ipv6, address("::1", seconds(60)), kStart);
  EXPECT_EQ(lookup.state(), State::Over);
  EXPECT_EQ(text(lookup), "[::1]:0 60");
  EXPECT_EQ(lookup.result().unknown, AF_INET);
}

TEST(HostLookup, ThereIsNothingOnlyWhenBothSaySo) {
  HostLookup lookup = asking();
  lookup.on_answer(Family::Ipv4, nothing(seconds(60)), kStart);
  lookup.on_answer(Family::Ipv6, failure(), kStart);
  EXPECT_EQ(lookup.state(), State::Over);
  EXPECT_EQ(text(lookup), "SERVFAIL");
}

TEST(HostLookup, ThatThereIsNothingHoldsForTheLeastThatAnAnswerSays) {
  HostLookup lookup = asking();
  lookup.on_answer(Family::Ipv4, nothing(seconds(60)), kStart);
  lookup.on_answer(Family::Ipv6, nothing(seconds(20)), kStart);
  EXPECT_EQ(text(lookup), "none, 20");
  HostLookup other = asking();
  other.on_answer(Family::Ipv4, nothing(seconds(20)), kStart);
  other.on_answer(Family::Ipv6, nothing(Duration::zero()), kStart);
  EXPECT_EQ(text(other), "none, 20") << "one that does not say counts for nothing";
}

TEST(HostLookup, TheNextNameIsAskedForWhenThereIsNothingOfBothFamilies) {
  HostLookup lookup = asking({"host.a", "host.b", "host"});
  EXPECT_EQ(lookup.name(), "host.a");
  lookup.on_answer(Family::Ipv4, nothing(seconds(60)), kStart);
  EXPECT_EQ(lookup.state(), State::Waiting);
  lookup.on_answer(Family::Ipv6, nothing(seconds(60)), kStart);
  ASSERT_EQ(lookup.state(), State::Asking);
  EXPECT_EQ(lookup.name(), "host.b");
  lookup.ask();
  lookup.on_answer(Family::Ipv4, address("127.0.0.1", seconds(30)), kStart);
  lookup.on_answer(Family::Ipv6, nothing(seconds(60)), kStart);
  EXPECT_EQ(lookup.state(), State::Over);
  EXPECT_EQ(text(lookup), "127.0.0.1:0 30") << "the families of one name only";
}

TEST(HostLookup, ANameThatFailsEndsTheSearch) {
  HostLookup lookup = asking({"host.a", "host"});
  lookup.on_answer(Family::Ipv4, failure(), kStart);
  lookup.on_answer(Family::Ipv6, nothing(seconds(60)), kStart);
  EXPECT_EQ(lookup.state(), State::Over);
  EXPECT_EQ(text(lookup), "SERVFAIL");
}

}  // namespace
}  // namespace cloudbus
