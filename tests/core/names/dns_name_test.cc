// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/dns_name.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

TEST(DnsName, TheNormalFormHasNeitherCapitalsNorAFinalDot) {
  EXPECT_EQ(normal_name("Orders.Example.COM."), "orders.example.com");
  EXPECT_EQ(normal_name("_orders._tcp.example"), "_orders._tcp.example");
  EXPECT_EQ(normal_name("."), ".");
  EXPECT_EQ(normal_name(""), "");
}

TEST(DnsName, OnlyAsciiLettersHaveACase) { EXPECT_EQ(normal_name("\xC3\x84Z"), "\xC3\x84z"); }

TEST(DnsName, AHostNameIsMadeOfLabels) {
  for (const char* name : {"a", "localhost", "a-b.example", "_orders._tcp.example", "2.1.e164.arpa", "10.0.0.1"}) {
    EXPECT_TRUE(is_host_name(name)) << name;
  }
  for (const char* name : {"", ".", "a.", ".a", "a..b", "A", "a b", "a/b", "a\\.b", "a,b", "\xC3\xA4", "a:80"}) {
    EXPECT_FALSE(is_host_name(name)) << name;
  }
}

TEST(DnsName, ALabelHas63BytesAndANameHas253AtMost) {
  std::string label(63, 'a');
  EXPECT_TRUE(is_host_name(label));
  EXPECT_FALSE(is_host_name(label + "a"));
  std::string three = label + "." + label + "." + label + ".";  // 192
  EXPECT_TRUE(is_host_name(three + std::string(61, 'a')));
  EXPECT_FALSE(is_host_name(three + std::string(62, 'a')));
}

using Names = std::vector<std::string>;

TEST(DnsName, ANameWithFewDotsIsSearchedForBeforeItStandsForItself) {
  const Names domains = {"a.example", "B.Example."};
  EXPECT_EQ(search_names("host", domains, 1), (Names{"host.a.example", "host.b.example", "host"}));
  EXPECT_EQ(search_names("host.x", domains, 1), (Names{"host.x", "host.x.a.example", "host.x.b.example"}));
  EXPECT_EQ(search_names("host.x", domains, 5), (Names{"host.x.a.example", "host.x.b.example", "host.x"}));
}

TEST(DnsName, ASearchDomainThatAddsNothingOrTooMuchIsPassedOver) {
  EXPECT_EQ(search_names("host", {}, 1), Names{"host"});
  EXPECT_EQ(search_names("host", Names{".", "b\\", std::string(253, 'a')}, 1), Names{"host"});
}

}  // namespace
}  // namespace cloudbus
