// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/log/log.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

TEST(EscapeValue, PlainWordsStandAsTheyAre) {
  EXPECT_EQ(escape_value("127.0.0.1:80"), "127.0.0.1:80");
  EXPECT_EQ(escape_value("Größe"), "Größe");
}

TEST(EscapeValue, NothingIsShownAsEmptyQuotes) { EXPECT_EQ(escape_value(""), R"("")"); }

TEST(EscapeValue, WhatWouldEndAValueIsQuoted) {
  EXPECT_EQ(escape_value("a b"), R"("a b")");
  EXPECT_EQ(escape_value("a=b"), R"("a=b")");
  EXPECT_EQ(escape_value(R"(a"b\c)"), R"("a\"b\\c")");
}

TEST(EscapeValue, ControlCharactersCannotForgeALine) {
  EXPECT_EQ(escape_value("x\ninfo Orders client=forged"), R"("x\ninfo Orders client=forged")");
  EXPECT_EQ(escape_value("\r\t\x1b[31m\x7f"), R"("\x0D\x09\x1B[31m\x7F")");
  EXPECT_EQ(escape_value(std::string_view("a\0b", 3)), R"("a\x00b")");
}

TEST(EscapeValue, BytesThatAreNoUtf8AreShownAsNumbers) {
  EXPECT_EQ(escape_value("\xff"), R"("\xFF")");
  EXPECT_EQ(escape_value("\xc3"), R"("\xC3")");                          // cut off
  EXPECT_EQ(escape_value("\xc0\xaf"), R"("\xC0\xAF")");                  // overlong
  EXPECT_EQ(escape_value("\xed\xa0\x80"), R"("\xED\xA0\x80")");          // a surrogate
  EXPECT_EQ(escape_value("\xf4\x90\x80\x80"), R"("\xF4\x90\x80\x80")");  // beyond U+10FFFF
  EXPECT_EQ(escape_value("\xf0\x9f\x9a\x8c"), "\xf0\x9f\x9a\x8c");
}

TEST(EscapeValue, MarksThatTurnTheDirectionOfWritingAreShownAsNumbers) {
  EXPECT_EQ(escape_value("a\u202eb"), R"("a\xE2\x80\xAEb")");
  EXPECT_EQ(escape_value("a\u0085b"), R"("a\xC2\x85b")");
}

}  // namespace
}  // namespace cloudbus
