// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/hosts_table.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

// The addresses with port 0, with blanks between them.
std::string found(const HostsTable& table, std::string_view name) {
  std::string text;
  for (const Address& address : table.find(name)) text += (text.empty() ? "" : " ") + address.to_string();
  return text;
}

TEST(HostsTable, FindsNamesAndAliasesInTheOrderOfTheLines) {
  HostsTable table("10.0.0.2 db.example db\n10.0.0.1\tother\tdb\n::1 db six\n");
  EXPECT_EQ(found(table, "db"), "10.0.0.2:0 10.0.0.1:0 [::1]:0");
  EXPECT_EQ(found(table, "db.example"), "10.0.0.2:0");
  EXPECT_EQ(found(table, "six"), "[::1]:0");
  EXPECT_EQ(found(table, "d"), "");
  EXPECT_EQ(found(table, "10.0.0.2"), "");
}

TEST(HostsTable, LettersHaveNoCase) {
  HostsTable table("10.0.0.1 DB.Example\n");
  EXPECT_EQ(found(table, "db.example"), "10.0.0.1:0");
  EXPECT_EQ(found(table, "dB.eXAMPLE"), "10.0.0.1:0");
}

TEST(HostsTable, AnAddressIsFoundOnce) {
  EXPECT_EQ(found(HostsTable("10.0.0.1 db db\n10.0.0.1 db\n"), "db"), "10.0.0.1:0");
}

TEST(HostsTable, CommentsBlanksAndLinesThatAreNoneCount) {
  HostsTable table(
      "# 10.0.0.1 db\n\n   \n  10.0.0.2 db#none\n10.0.0.3 # db\n10.0.0.4\n10.0.0 db\nfe80::1%lo db\n10.0.0.5 db\r\n"
      "10.0.0.6 other db");
  EXPECT_EQ(found(table, "db"), "10.0.0.2:0 10.0.0.5:0 10.0.0.6:0");
  EXPECT_EQ(found(table, "none"), "");
}

TEST(HostsTable, AnEmptyOneFindsNothing) {
  EXPECT_EQ(found(HostsTable(), "db"), "");
  EXPECT_EQ(found(HostsTable(""), ""), "");
}

TEST(HostsTable, FindsAmongMany) {
  std::string text;
  for (int i = 0; i < 20'000; i++)
    text += "10.0." + std::to_string(i / 200) + '.' + std::to_string(i % 200) + " host" + std::to_string(i) + '\n';
  HostsTable table(text);
  EXPECT_EQ(found(table, "host0"), "10.0.0.0:0");
  EXPECT_EQ(found(table, "host19999"), "10.0.99.199:0");
  EXPECT_EQ(found(table, "host20000"), "");
}

}  // namespace
}  // namespace cloudbus
