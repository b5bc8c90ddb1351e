// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/substitution.h"

#include <gtest/gtest.h>

#include "cloudbus/core/names/regex_bounds.h"

namespace cloudbus {
namespace {

// The result, or the error with "error: " in front.
std::string made(std::string_view expression, const std::string& subject) {
  Substitution substitution = substitute(expression, subject);
  return substitution.error.empty() ? substitution.result : "error: " + substitution.error;
}

bool fails(std::string_view expression, const std::string& subject = "abc") {
  Substitution substitution = substitute(expression, subject);
  EXPECT_TRUE(substitution.result.empty() || substitution.error.empty());
  return !substitution.error.empty();
}

TEST(Substitution, Rfc3402Section3_2NumbersTheGroups) {
  const std::string all = "!(A(B(C)DE)(F)G)!";
  EXPECT_EQ(made(all + "\\1!", "ABCDEFG"), "ABCDEFG");
  EXPECT_EQ(made(all + "\\2!", "ABCDEFG"), "BCDE");
  EXPECT_EQ(made(all + "\\3!", "ABCDEFG"), "C");
  EXPECT_EQ(made(all + "\\4!", "ABCDEFG"), "F");
  for (char group = '5'; group <= '9'; group++) EXPECT_TRUE(fails(all + "\\" + group + "!", "ABCDEFG"));
}

TEST(Substitution, Rfc3404Section5_3NeedsBackslashesWhereTheDelimiterIsASlash) {
  const std::string uri = "http://www.example.com/software/latest-beta.exe";
  EXPECT_EQ(made("/^http:\\/\\/([^\\/:]+)/\\1/i", uri), "www.example.com");
  EXPECT_EQ(made("!^http://([^/:]+)!\\1!i", uri), "www.example.com");
}

TEST(Substitution, TheResultIsTheReplacementOnly) {
  EXPECT_EQ(made("!b!x!", "abc"), "x");
  EXPECT_EQ(made("!^.*$!sip:info@example.com!", "+4689761234"), "sip:info@example.com");
  EXPECT_EQ(made("!^\\+46(.*)$!\\1.\\1!", "+468971234"), "8971234.8971234");
}

TEST(Substitution, WhatDoesNotMatchIsNoError) {
  EXPECT_EQ(made("!^b!x!", "abc"), "");
  EXPECT_EQ(made("!ABC!x!", "abc"), "");
  EXPECT_EQ(made("!abc!!", "abc"), "");
}

TEST(Substitution, TheFlagIgnoresCase) {
  EXPECT_EQ(made("!^URN:(.*)$!\\1!i", "urn:Bus"), "Bus");
  EXPECT_EQ(made("!^URN:(.*)$!\\1!I", "urn:Bus"), "Bus");
  EXPECT_EQ(made("!^URN:(.*)$!\\1!ii", "urn:Bus"), "Bus");
  EXPECT_TRUE(fails("!a!x!g"));
  EXPECT_TRUE(fails("!a!x!!"));
}

TEST(Substitution, AGroupThatTookNoPartIsEmpty) { EXPECT_EQ(made("!^(x)?(abc)$!<\\1\\2>!", "abc"), "<abc>"); }

TEST(Substitution, ManyCharactersAreDelimiters) {
  for (char delimiter : std::string("!/#|,: ~\"a_\x80")) {
    std::string expression = "?(b)?<\\1>?";
    for (char& c : expression) c = c == '?' ? delimiter : c;
    EXPECT_EQ(made(expression, "abc"), "<b>") << delimiter;
  }
}

TEST(Substitution, DigitsBackslashesAndFlagsAreNone) {
  for (const char* expression : {"0b0x0", "1b1x1", "9b9x9", "\\b\\x\\", "ibixi", "IbIxI"})
    EXPECT_TRUE(fails(expression));
}

TEST(Substitution, ThereAreThreeDelimiters) {
  for (const char* expression : {"", "!", "!!", "!abc", "!abc!", "!abc!x", "!abc!x\\!", "!abc\\!x!", "!abc!x!y!"}) {
    EXPECT_TRUE(fails(expression)) << expression;
  }
}

TEST(Substitution, ABackslashTakesTheDelimiterItsMeaning) {
  EXPECT_EQ(made("!a\\!b!c\\!d!", "a!b"), "c!d");
  EXPECT_EQ(made("/[\\/]b/x/", "a/b"), "x");
  EXPECT_EQ(made("|^(a\\|b)$|\\1|", "b"), "b") << "but not its other one";
  EXPECT_EQ(made("!a\\\\!x!", "a\\"), "x") << "a backslash before a backslash is one to match";
}

TEST(Substitution, InTheReplacementABackslashStandsBeforeANumberOrABackslash) {
  EXPECT_EQ(made("!a!x\\\\y!", "a"), "x\\y");
  EXPECT_EQ(made("!(a)!\\\\1!", "a"), "\\1");
  for (const char* expression : {"!(a)!\\0!", "!(a)!\\x!", "!(a)!\\2!", "!a!\\1!"}) EXPECT_TRUE(fails(expression));
}

TEST(Substitution, AnInvalidRegularExpressionIsAnError) {
  EXPECT_EQ(made("!(!x!", "abc"), "error: the regular expression is invalid: Unmatched ( or \\(");
  for (const char* expression : {"![!x!", "!*a!x!", "!a{3,1}!x!", "![[:foo:]]!x!", "!a\\!x!"})
    EXPECT_TRUE(fails(expression));
}

TEST(Substitution, BytesAreTakenAsTheyAre) {
  EXPECT_EQ(made("!\xC3\xA4(.*)!\\1\xFF!", "\xC3\xA4z"), "z\xFF");
  EXPECT_TRUE(fails(std::string_view("!a\0b!x!", 7)));
}

TEST(Substitution, ItsSizesAreBounded) {
  EXPECT_EQ(made("!^(a*)$!\\1!", std::string(kMaxSubject, 'a')).size(), kMaxSubject);
  EXPECT_TRUE(fails("!^(a*)$!\\1!", std::string(kMaxSubject + 1, 'a')));
  EXPECT_EQ(made("!a!" + std::string(kMaxExpression - 4, 'x') + "!", "a").size(), kMaxExpression - 4);
  EXPECT_TRUE(fails("!a!" + std::string(kMaxExpression - 3, 'x') + "!", "a"));
  EXPECT_EQ(made("!^(.*)$!\\1\\1\\1\\1!", std::string(255, 'a')).size(), 1020u);
  EXPECT_TRUE(fails("!^(.*)$!\\1\\1\\1\\1\\1!", std::string(255, 'a')));
}

// Each of them took seconds, or all memory, or never ended.
TEST(Substitution, ExpressionsThatWouldTakeHoursAreRefused) {
  const std::string subject(kMaxSubject, 'a');
  for (const char* expression :
       {"(((a{99}){99}){99})", "((a{0,255}){0,255}){0,255}", "a++++++++++++++++++++++++", "((()+)+)+c",
        "(()[ab]|a){0,9}|(a|aa)((((){0,9})+){0,9})+c", "(a)(\\1)*(\\1)*(\\1)*b", "((((a*)*)*)*)*c"}) {
    EXPECT_TRUE(fails("!" + std::string(expression) + "!x!", subject)) << expression;
  }
}

}  // namespace
}  // namespace cloudbus
