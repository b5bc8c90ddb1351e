// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/ddds.h"

#include <gtest/gtest.h>

#include <map>

namespace cloudbus {
namespace {

using Records = std::vector<NaptrRecord>;
using std::chrono::seconds;

NaptrRecord rule(std::uint16_t order, std::uint16_t preference, std::string flags, std::string services,
                 std::string regexp, std::string replacement = ".", seconds ttl = seconds(60)) {
  return {order, preference, std::move(flags), std::move(services), std::move(regexp), std::move(replacement), ttl};
}

struct Words {
  std::string operator()(const Ddds::Lookup& step) const { return "lookup " + step.key; }
  std::string operator()(const Ddds::Srv& step) const { return "srv " + step.name; }
  std::string operator()(const Ddds::Host& step) const { return "host " + step.name; }
  std::string operator()(const Ddds::Uri& step) const { return "uri " + step.text; }
  std::string operator()(const Ddds::Failure& step) const { return "failure: " + step.reason; }
};

std::string words(const Ddds& ddds) { return std::visit(Words(), ddds.step()); }

// What the records of the first key lead "urn:bus:orders" to.
std::string led_to(const Records& records) {
  Ddds ddds("urn:bus:orders", "bus.urn.arpa");
  ddds.on_records(records);
  return words(ddds);
}

bool fails(const Records& records) { return led_to(records).starts_with("failure: "); }

// Runs the algorithm over a database; gives all the steps.
std::vector<std::string> steps(Ddds& ddds, const std::map<std::string, Records>& database) {
  std::vector<std::string> all = {words(ddds)};
  while (auto* lookup = std::get_if<Ddds::Lookup>(&ddds.step())) {
    auto found = database.find(lookup->key);
    ddds.on_records(found == database.end() ? Records() : found->second);
    all.push_back(words(ddds));
  }
  return all;
}

using Steps = std::vector<std::string>;

// The manufacturer is the first 5 digits, the line of cars the next 3.
TEST(Ddds, Rfc3402Section6_1AutomobileParts) {
  Ddds ddds("4747301AB7D", "47473", "edifac");
  const std::map<std::string, Records> network = {
      {"47473", {rule(1, 1, "", "", "!^.{5}(.{3}).*$!\\1.47473!")}},
      {"01a.47473", {rule(1, 1, "u", "edifac", "!^.{8}(.*)$!https://supply.example/\\1!")}}};
  EXPECT_EQ(steps(ddds, network), Steps({"lookup 47473", "lookup 01a.47473", "uri https://supply.example/B7D"}));
}

// <organization>-<department>-<author>:<project>-<bookcase>-<book>. One organization delegates, the other does not.
TEST(Ddds, Rfc3402Section6_2DocumentIdentification) {
  const std::map<std::string, Records> directory = {
      {"acme", {rule(1, 1, "", "", "!^acme-([^-]+)-!\\1.acme!")}},
      {"sales.acme", {rule(1, 1, "", "", "!^acme-sales-([^:]+):!\\1.sales.acme!")}},
      {"bob.sales.acme", {rule(1, 1, "s", "ldap", "!:([^-]+)-([^-]+)-[^-]+$!\\2.\\1.bob.sales.acme!")}},
      {"union", {rule(1, 1, "s", "ldap", "", "library.union")}}};
  Ddds deep("acme-sales-bob:forecast-top-q3", "acme", "ldap");
  EXPECT_EQ(steps(deep, directory),
            Steps({"lookup acme", "lookup sales.acme", "lookup bob.sales.acme", "srv top.forecast.bob.sales.acme"}));
  Ddds flat("union-press-eve:a-b-c", "union", "ldap");
  EXPECT_EQ(steps(flat, directory), Steps({"lookup union", "srv library.union"}));
}

const std::map<std::string, Records> kCid = {
    {"cid.urn.arpa", {rule(100, 10, "", "", "!^urn:cid:.+@([^\\.]+\\.)(.*)$!\\2!i")}},
    {"example.com",
     {rule(100, 50, "a", "z3950+N2L+N2C", "", "cidserver.example.com"),
      rule(100, 50, "a", "rcds+N2C", "", "cidserver.example.com"),
      rule(100, 50, "s", "http+N2L+N2C+N2R", "", "www.example.com")}}};

TEST(Ddds, Rfc3403Section6_1UrnExample) {
  const std::string urn = "urn:cid:199606121851.1@bar.example.com";
  Ddds first(urn, "cid.urn.arpa", "z3950"), second(urn, "cid.urn.arpa", "rcds"), third(urn, "cid.urn.arpa", "http");
  EXPECT_EQ(steps(first, kCid), Steps({"lookup cid.urn.arpa", "lookup example.com", "host cidserver.example.com"}));
  EXPECT_EQ(steps(second, kCid).back(), "host cidserver.example.com");
  EXPECT_EQ(steps(third, kCid).back(), "srv www.example.com");
}

// "+1-770-555-1212".
const std::map<std::string, Records> kE164 = {{"2.1.2.1.5.5.5.0.7.7.1.e164.arpa",
                                               {rule(100, 10, "u", "sip+E2U", "!^.*$!sip:information@foo.se!i"),
                                                rule(102, 10, "u", "smtp+E2U", "!^.*$!mailto:information@foo.se!i")}}};

TEST(Ddds, Rfc3403Section6_2E164Example) {
  Ddds ddds("+17705551212", "2.1.2.1.5.5.5.0.7.7.1.e164.arpa.", "sip");
  EXPECT_EQ(steps(ddds, kE164), Steps({"lookup 2.1.2.1.5.5.5.0.7.7.1.e164.arpa", "uri sip:information@foo.se"}));
}

TEST(Ddds, Rfc3403Section6_2GivesAClientWithoutSipNothing) {
  Ddds ddds("+17705551212", "2.1.2.1.5.5.5.0.7.7.1.e164.arpa.", "smtp");
  EXPECT_EQ(
      steps(ddds, kE164).back(),
      "failure: no NAPTR record of 2.1.2.1.5.5.5.0.7.7.1.e164.arpa fits: order 100 preference 10: its services do "
      "not name smtp");
}

// "Assuming our client does not know the foolink protocol but does know the RCDS protocol".
TEST(Ddds, Rfc3404Section5_1ExampleUsingAUrn) {
  Ddds ddds("urn:foo:002372413:annual-report-1997", "foo.urn.arpa", "rcds");
  const std::map<std::string, Records> database = {
      {"foo.urn.arpa",
       {rule(100, 10, "s", "foolink+I2L+I2C", "", "foolink.udp.example.com"),
        rule(100, 20, "s", "rcds+I2C", "", "rcds.udp.example.com"),
        rule(100, 30, "s", "thttp+I2L+I2C+I2R", "", "thttp.tcp.example.com")}}};
  EXPECT_EQ(steps(ddds, database), Steps({"lookup foo.urn.arpa", "srv rcds.udp.example.com"}));
}

TEST(Ddds, Rfc3404Section5_2CidUriScheme) {
  Ddds ddds("cid:199606121851.1@bar.example.com", "cid.uri.arpa", "thttp");
  const std::map<std::string, Records> database = {
      {"cid.uri.arpa", {rule(100, 10, "", "", "!^cid:.+@([^\\.]+\\.)(.*)$!\\2!i")}},
      {"example.com",
       {rule(100, 50, "s", "z3950+I2L+I2C", "", "z3950.tcp.example.com"),
        rule(100, 50, "s", "rescap+I2C", "", "rescap.udp.example.com"),
        rule(100, 50, "s", "thttp+I2L+I2C+I2R", "", "thttp.tcp.example.com")}}};
  EXPECT_EQ(steps(ddds, database), Steps({"lookup cid.uri.arpa", "lookup example.com", "srv thttp.tcp.example.com"}));
}

// The RFC prints the replacement as "1"; its text, and the same expression with slashes, have "\1".
TEST(Ddds, Rfc3404Section5_3HttpUriScheme) {
  Ddds ddds("http://www.example.com/software/latest-beta.exe", "http.uri.arpa", "ftp");
  const std::map<std::string, Records> database = {
      {"http.uri.arpa", {rule(100, 90, "", "", "!^http://([^/:]+)!\\1!i")}},
      {"www.example.com",
       {rule(100, 100, "s", "thttp+L2R", "", "thttp.example.com"),
        rule(100, 100, "s", "ftp+L2R", "", "ftp.example.com")}}};
  EXPECT_EQ(steps(ddds, database), Steps({"lookup http.uri.arpa", "lookup www.example.com", "srv ftp.example.com"}));
}

TEST(Ddds, Rfc3404Section6KeepsToTheOrderInWhichARuleMatched) {
  EXPECT_EQ(led_to({rule(2, 0, "a", "", "", "c"), rule(1, 9, "a", "", "", "b"), rule(1, 1, "a", "sip", "", "a")}),
            "host b");
  EXPECT_TRUE(fails({rule(1, 0, "a", "sip", "", "a"), rule(2, 0, "a", "", "", "b")}));
  EXPECT_EQ(led_to({rule(1, 0, "a", "", "!^urn:mail:!a!"), rule(2, 0, "a", "", "", "b")}), "host b");
}

TEST(Ddds, PreferencesAreLowestFirst) {
  EXPECT_EQ(led_to({rule(1, 65535, "a", "", "", "c"), rule(1, 2, "a", "", "", "b"), rule(1, 1, "a", "", "", "a")}),
            "host a");
}

TEST(Ddds, FlagsHaveNoCase) {
  EXPECT_EQ(led_to({rule(1, 1, "S", "", "", "_a._tcp.example")}), "srv _a._tcp.example");
  EXPECT_EQ(led_to({rule(1, 1, "A", "", "", "example")}), "host example");
  EXPECT_EQ(led_to({rule(1, 1, "U", "", "!^.*:!tcp://x:1/!")}), "uri tcp://x:1/");
  EXPECT_EQ(led_to({rule(1, 1, "sS", "", "", "example")}), "srv example");
  EXPECT_EQ(led_to({rule(1, 1, "", "", "", "Example.")}), "lookup example");
}

TEST(Ddds, Rfc3404Section4_3IgnoresARuleWithAnUnknownFlagBeforeAnyOrder) {
  for (const char* flags : {"x", "9", "sx", "xs", "s ", "-"}) {
    EXPECT_EQ(led_to({rule(1, 1, flags, "", "", "a"), rule(2, 1, "a", "", "", "b")}), "host b") << flags;
  }
}

TEST(Ddds, FlagsThatExcludeEachOtherAreAnError) {
  for (const char* flags : {"sa", "SU", "ap", "pu", "saup"}) {
    EXPECT_EQ(led_to({rule(1, 1, flags, "", "", "a"), rule(2, 1, "a", "", "", "b")}), "host b") << flags;
  }
}

TEST(Ddds, WhatIsLeftToAProtocolIsPassedOver) {
  EXPECT_EQ(led_to({rule(1, 1, "p", "bus", "", "a"), rule(1, 2, "a", "", "", "b")}), "host b");
  EXPECT_EQ(
      led_to({rule(1, 1, "P", "", "", "a"), rule(2, 1, "a", "", "", "b")}),
      "failure: no NAPTR record of bus.urn.arpa fits: order 1 preference 1: its flag leaves the rest to a protocol "
      "of its own");
}

TEST(Ddds, ServicesAreEmptyOrNameOurs) {
  for (const char* services : {"", "bus", "BUS", "bus+tcp", "tcp+bus", "bus+I2L+I2C", "tcp+I2L+Bus", "+bus"}) {
    EXPECT_EQ(led_to({rule(1, 1, "a", services, "", "a")}), "host a") << services;
  }
  for (const char* services : {"tcp", "+", "omnibus", "bus2+tcp", "tcp+busy", "bus:tcp", "tcp bus", "b+u+s"}) {
    EXPECT_TRUE(fails({rule(1, 1, "a", services, "", "a")})) << services;
  }
}

TEST(Ddds, Rfc3403Section4_1HasEitherAnExpressionOrAReplacement) {
  EXPECT_EQ(led_to({rule(1, 1, "a", "", "!^.*$!a!", "b"), rule(2, 1, "a", "", "", "c")}), "host c");
  EXPECT_EQ(led_to({rule(1, 1, "a", "", "", "."), rule(2, 1, "a", "", "", "c")}), "host c") << "neither gives nothing";
}

TEST(Ddds, ARuleWithABadExpressionIsAsIfItWereNotThere) {
  for (const char* expression : {"!", "!(!a!", "!urn!\\1!", "!(((a{99}){99}){99})!a!", "!urn!a!x", "!urn!!"}) {
    EXPECT_EQ(led_to({rule(1, 1, "a", "", expression), rule(2, 1, "a", "", "", "b")}), "host b") << expression;
  }
}

TEST(Ddds, ExpressionsAreAlwaysAppliedToTheFirstString) {
  Ddds ddds("urn:bus:orders", "bus.urn.arpa");
  const std::map<std::string, Records> database = {
      {"bus.urn.arpa", {rule(1, 1, "", "", "!^urn:bus:(.*)$!\\1.example!")}},
      {"orders.example",
       {rule(1, 1, "s", "", "!^orders!wrong!"), rule(2, 1, "s", "bus", "!^urn:bus:(.*)$!_\\1._tcp.example!")}}};
  EXPECT_EQ(steps(ddds, database), Steps({"lookup bus.urn.arpa", "lookup orders.example", "srv _orders._tcp.example"}));
}

TEST(Ddds, NamesAreGivenInTheirNormalForm) {
  EXPECT_EQ(led_to({rule(1, 1, "s", "", "!^.*:(.*)$!_\\1._TCP.Example.!")}), "srv _orders._tcp.example");
  EXPECT_EQ(led_to({rule(1, 1, "u", "", "!^.*:(.*)$!tcp://Example:80/\\1!")}), "uri tcp://Example:80/orders");
}

TEST(Ddds, WhatIsNoNameIsNotLookedUp) {
  for (const char* expression :
       {"!:!a b!", "!:!a..b!", "!:!.!", "!^(.*)$!\\1.example!", "!:!tcp://a!", "!:!\xC3\xA4!"}) {
    for (const char* flags : {"", "s", "a"}) EXPECT_TRUE(fails({rule(1, 1, flags, "", expression)})) << expression;
  }
  EXPECT_TRUE(fails({rule(1, 1, "a", "", "!:!a b!"), rule(2, 1, "a", "", "", "b")})) << "it matched";
  EXPECT_EQ(led_to({rule(1, 1, "a", "", "!:!a b!"), rule(1, 2, "a", "", "", "b")}), "host b");
}

TEST(Ddds, WhatIsNoUriIsNotUsed) {
  for (const char* expression : {"!:!tcp://a b!", "!:!tcp://a\n!", "!:!\xC3\xA4!", "!:!\x7F!"}) {
    EXPECT_TRUE(fails({rule(1, 1, "u", "", expression)})) << expression;
  }
  EXPECT_TRUE(fails({rule(1, 1, "u", "", "", "example")})) << "a replacement is a domain name";
}

TEST(Ddds, LoopsAreFound) {
  EXPECT_EQ(led_to({rule(1, 1, "", "", "", "BUS.urn.arpa")}),
            "failure: the NAPTR records of bus.urn.arpa lead back to bus.urn.arpa");
  Ddds ddds("urn:bus:orders", "a");
  const std::map<std::string, Records> database = {
      {"a", {rule(1, 1, "", "", "", "b")}}, {"b", {rule(1, 1, "", "", "", "c")}}, {"c", {rule(1, 1, "", "", "", "a")}}};
  EXPECT_EQ(steps(ddds, database).back(), "failure: the NAPTR records of c lead back to a");
}

TEST(Ddds, SixteenLookupsAreTheMost) {
  std::map<std::string, Records> database;
  for (int i = 1; i <= 20; i++) {
    database["a" + std::to_string(i)] = {rule(1, 1, "", "", "", "a" + std::to_string(i + 1))};
  }
  Ddds far("urn:bus:orders", "a1");
  EXPECT_EQ(steps(far, database).back(), "failure: 16 lookups of NAPTR records led to no server, the last that of a16");
  database["a16"] = {rule(1, 1, "a", "", "", "host.example")};
  Ddds near("urn:bus:orders", "a1");
  EXPECT_EQ(steps(near, database).back(), "host host.example");
}

TEST(Ddds, NoRecordsAreTheEnd) {
  EXPECT_EQ(led_to({}), "failure: bus.urn.arpa has no NAPTR records");
  Ddds ddds("urn:bus:orders", "a");
  const std::map<std::string, Records> database = {{"a", {rule(1, 1, "", "", "", "b"), rule(1, 2, "a", "", "", "c")}}};
  EXPECT_EQ(steps(ddds, database).back(), "failure: b has no NAPTR records") << "RFC 3403, section 8: no way back";
}

TEST(Ddds, AFirstKeyIsAName) {
  for (const char* key : {"", ".", "a b", "a..b"}) {
    EXPECT_EQ(words(Ddds("urn:bus:orders", key)), "failure: the first key is no domain name") << key;
  }
}

TEST(Ddds, AFailureGivesThreeReasons) {
  Records records;
  for (std::uint16_t i = 1; i <= 5; i++) records.push_back(rule(i, 10, "x", "", "", "a"));
  EXPECT_EQ(led_to(records),
            "failure: no NAPTR record of bus.urn.arpa fits: order 1 preference 10: it has an unknown flag; order 2 "
            "preference 10: it has an unknown flag; order 3 preference 10: it has an unknown flag; and 2 more");
}

TEST(Ddds, TheShortestTtlOfAllRecordsCounts) {
  Ddds ddds("urn:bus:orders", "a");
  EXPECT_EQ(ddds.ttl(), Duration::max());
  ddds.on_records(Records{rule(1, 1, "", "", "", "b", seconds(30)), rule(2, 1, "a", "", "", "c", seconds(20))});
  EXPECT_EQ(ddds.ttl(), seconds(20));
  ddds.on_records(Records{rule(1, 1, "a", "", "", "c", seconds(40))});
  EXPECT_EQ(ddds.ttl(), seconds(20));
}

TEST(Ddds, AfterTheEndNothingChanges) {
  Ddds ddds("urn:bus:orders", "a");
  ddds.on_records(Records{rule(1, 1, "a", "", "", "b", seconds(30))});
  ddds.on_records(Records{rule(1, 1, "a", "", "", "c", seconds(1))});
  EXPECT_EQ(words(ddds), "host b");
  EXPECT_EQ(ddds.ttl(), seconds(30));
}

}  // namespace
}  // namespace cloudbus
