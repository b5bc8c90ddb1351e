// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/regex_bounds.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

constexpr const char* kTooLarge = "the regular expression is too large";
constexpr const char* kRepeatsNothing = "the regular expression repeats what may be empty";
constexpr const char* kRefersBack = "the regular expression refers back to its own groups";

TEST(RegexBounds, OrdinaryExpressionsPass) {
  for (const char* expression : {"", "^urn:bus:orders$", "^urn:cid:.+@([^\\.]+\\.)(.*)$", "^.*$", "(A(B(C)DE)(F)G)",
                                 "^([a-z]+\\.)*example$", "a{1,200}", "(a|b|)c", "(a(b*))?", "^\\+1?[0-9]{3,15}$"}) {
    EXPECT_EQ(regex_bounds_error(expression), "") << expression;
  }
}

TEST(RegexBounds, ElementsAreCountedWithTheirRepetitionsWrittenOut) {
  const std::string elements(kMaxRegexElements, 'a');
  EXPECT_EQ(regex_bounds_error(elements), "");
  EXPECT_EQ(regex_bounds_error(elements + "a"), kTooLarge);
  EXPECT_EQ(regex_bounds_error("a{255}"), "");
  for (const char* expression :
       {"a{256}", "a{0,256}", "a{255,}", "a{,256}", "(ab){99}", "(a{20}){20}", "(((a{9}){9}){9})", "(a{20}|b{20}){9}",
        "a{99999999999999999999}", "a++++++++", "((((((((a)+)+)+)+)+)+)+)+", "a{250}[b{2}]{9}"}) {
    EXPECT_EQ(regex_bounds_error(expression), kTooLarge) << expression;
  }
}

TEST(RegexBounds, WhatMayBeEmptyIsNotRepeated) {
  for (const char* expression : {"(a*)*", "(a?)+", "()*", "(|a)+", "(a|b*){2}", "(a{0,3})*", "a**", "a?+", "^*",
                                 "(^|$)+", "((a*)(b*))*", "\\b+", "(a*)?"}) {
    EXPECT_EQ(regex_bounds_error(expression), kRepeatsNothing) << expression;
  }
  for (const char* expression : {"(a*b)*", "(a|b)+", "(a?b){2}", "(a{1,3})*", "(a(b*))+", "\\^*", "[^$]*"}) {
    EXPECT_EQ(regex_bounds_error(expression), "") << expression;
  }
}

TEST(RegexBounds, BackReferencesAreRefused) {
  EXPECT_EQ(regex_bounds_error("(a)\\1"), kRefersBack);
  EXPECT_EQ(regex_bounds_error("(a)\\\\1"), "");
  EXPECT_EQ(regex_bounds_error("[\\1]"), "");
}

TEST(RegexBounds, NothingInBracketsIsAnOperator) {
  for (const char* expression : {"[(*+{9}]", "[]{999}]", "[^]{999}]", "[[:alpha:](){999}]", "[[.].]{999}]",
                                 "[[=]=]{999}]", "[\\]a", "[[{999}]", "[[:{999}]"}) {
    EXPECT_EQ(regex_bounds_error(expression), "") << expression;
  }
  EXPECT_EQ(regex_bounds_error("[]]{999}"), kTooLarge);
  EXPECT_EQ(regex_bounds_error("[[:alpha:]]{999}"), kTooLarge);
  EXPECT_EQ(regex_bounds_error("[\\]{999}"), kTooLarge);
}

TEST(RegexBounds, WhatIsNoExpressionIsLeftToRegcomp) {
  for (const char* expression :
       {"(", ")", "(((", "[", "[^", "[]", "[[:", "\\", "*", "+a", "{", "a{", "a{1", "a{1,", "a{x}", "a{}", "a|*b"}) {
    EXPECT_EQ(regex_bounds_error(expression), "") << expression;
  }
  EXPECT_EQ(regex_bounds_error(std::string(1000, '(')), kTooLarge);
}

}  // namespace
}  // namespace cloudbus
