// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/name_server.h"

#include <gtest/gtest.h>
#include <net/if.h>

namespace cloudbus {
namespace {

std::string parsed(std::string_view text) {
  auto server = parse_name_server(text);
  return server ? server->to_string() : "none";
}

std::string joined(const std::vector<NameServer>& servers) {
  std::string text;
  for (const NameServer& server : servers) text += (text.empty() ? "" : " ") + server.to_string();
  return text;
}

TEST(NameServer, IsAnAddressWithAPortOrWithout) {
  EXPECT_EQ(parsed("10.0.0.2"), "10.0.0.2:53");
  EXPECT_EQ(parsed("10.0.0.2:5353"), "10.0.0.2:5353");
  EXPECT_EQ(parsed("[::1]"), "[::1]:53");
  EXPECT_EQ(parsed("[::1]:5353"), "[::1]:5353");
  for (const char* text : {"", "dns.example", "10.0.0.2:0", "::1", "[::1", "10.0.0.2:53x"})
    EXPECT_EQ(parsed(text), "none");
}

TEST(NameServer, ALinkLocalAddressHasAZone) {
  EXPECT_EQ(parsed("[fe80::53%eth0]:53"), "[fe80::53%eth0]:53");
  EXPECT_EQ(parsed("[fe80::53%br-lan.7]"), "[fe80::53%br-lan.7]:53");
  EXPECT_TRUE(parse_name_server("[fe80::53]:53")->lacks_zone());
  EXPECT_FALSE(parse_name_server("[fe80::53%2]:53")->lacks_zone());
  EXPECT_FALSE(parse_name_server("[::1]:53")->lacks_zone());
  for (const char* text :
       {"[2001:db8::1%eth0]:53", "10.0.0.2%eth0", "[fe80::53%]:53", "[fe80::53%a%b]", "[fe80::53]%lo"})
    EXPECT_EQ(parsed(text), "none");
}

TEST(NameServer, AZoneIsTheInterfaceThatHasItsNameOrNumberNow) {
  unsigned loopback = if_nametoindex("lo");
  ASSERT_NE(loopback, 0u);
  EXPECT_EQ(parse_name_server("[fe80::53%lo]:53")->scoped()->sin6_scope_id, loopback);
  EXPECT_EQ(parse_name_server("[fe80::53%" + std::to_string(loopback) + "]:53")->scoped()->sin6_scope_id, loopback);
  EXPECT_FALSE(parse_name_server("[fe80::53%nowhere]:53")->scoped());
}

TEST(NameServer, ThoseOfTheSystemAreReadWithTheirZones) {
  EXPECT_EQ(joined(name_servers_of("# nameserver 10.0.0.1\nsearch example\nnameserver 10.0.0.2 # first\n"
                                   "nameserver\tfe80::53%eth0\r\nnameserver 2001:db8::1;\nnameservers 10.0.0.3\n"
                                   "nameserver\nnameserver nonsense\noptions ndots:2\nnameserver 10.0.0.4")),
            "10.0.0.2:53 [fe80::53%eth0]:53 [2001:db8::1]:53 10.0.0.4:53");
  EXPECT_EQ(joined(name_servers_of("")), "");
}

TEST(NameServer, AListHasCommasOrBlanks) {
  EXPECT_EQ(joined(parse_name_servers("10.0.0.2:53,[fe80::53%eth0]:53 , [::1]")),
            "10.0.0.2:53 [fe80::53%eth0]:53 [::1]:53");
}

}  // namespace
}  // namespace cloudbus
