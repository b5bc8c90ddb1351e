// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/urn.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

std::string normal(std::string_view text) {
  auto urn = parse_urn(text);
  return urn ? urn->text : "none";
}

std::string key(std::string_view text) { return first_key(*parse_urn(text)); }

TEST(Urn, Rfc3404Section4_2MakesTheFirstKeyOfTheNamespace) {
  EXPECT_EQ(key("urn:foo:foospace"), "foo.urn.arpa");
  EXPECT_EQ(key("urn:foo:002372413:annual-report-1997"), "foo.urn.arpa");
  EXPECT_EQ(key("urn:cid:199606121851.1@bar.example.com"), "cid.urn.arpa");
  EXPECT_EQ(key("urn:bus:orders"), "bus.urn.arpa");
}

TEST(Urn, TheZoneOfTheFirstKeyCanBeAnotherOne) {
  EXPECT_EQ(first_key(*parse_urn("URN:Bus:orders"), "Names.Example."), "bus.names.example");
}

TEST(Urn, EqualNamesHaveTheSameNormalForm) {
  EXPECT_EQ(normal("urn:bus:orders"), "urn:bus:orders");
  EXPECT_EQ(normal("URN:Bus:Orders"), "urn:bus:Orders") << "the case of the rest matters";
  EXPECT_EQ(normal("urn:bus:a%2fb%C3%a4"), "urn:bus:a%2Fb%C3%A4");
  EXPECT_EQ(parse_urn("uRn:BUS:x")->nid, "bus");
}

TEST(Urn, TheRestHoldsWhatAPathMayHold) {
  for (const char* text : {"urn:bus:a", "urn:bus:a:b/c", "urn:bus:-._~!$&'()*+,;=:@", "urn:a-1:0", "urn:12:%00"}) {
    EXPECT_EQ(normal(text), text);
  }
}

TEST(Urn, OtherTextIsNone) {
  for (const char* text : {"",
                           "urn",
                           "urn:",
                           "urn:bus",
                           "urn:bus:",
                           "urn::orders",
                           "urn:b:orders",
                           "urn:-b:orders",
                           "urn:b-:orders",
                           "urn:b_s:orders",
                           "urn:b.s:orders",
                           "uri:bus:orders",
                           " urn:bus:orders",
                           "urn:bus:/orders",
                           "urn:bus:a b",
                           "urn:bus:\xC3\xA4",
                           "urn:bus:a%",
                           "urn:bus:a%2",
                           "urn:bus:a%2g",
                           "urn:bus:orders?+r",
                           "urn:bus:orders?=q",
                           "urn:bus:orders#f",
                           "urn:bus:\"a\""}) {
    EXPECT_EQ(normal(text), "none") << text;
  }
}

TEST(Urn, ANamespaceHas2To32Characters) {
  EXPECT_EQ(normal("urn:" + std::string(32, 'a') + ":x"), "urn:" + std::string(32, 'a') + ":x");
  EXPECT_EQ(normal("urn:" + std::string(33, 'a') + ":x"), "none");
}

}  // namespace
}  // namespace cloudbus
