// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/environment.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace cloudbus {
namespace {

class Environment : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("CB_HOST", "10.0.0.1", 1);
    setenv("CB_EMPTY", "", 1);
    unsetenv("CB_NONE");
  }

  static std::string expanded(std::string_view value) { return expand_environment(value).value.value_or("none"); }
  static std::string error(std::string_view value) { return expand_environment(value).error; }
};

TEST_F(Environment, AVariableBecomesWhatItHolds) {
  EXPECT_EQ(expanded("tcp://${CB_HOST}:80"), "tcp://10.0.0.1:80");
  EXPECT_EQ(expanded("${CB_HOST}${CB_HOST}"), "10.0.0.110.0.0.1");
  EXPECT_EQ(expanded("${CB_EMPTY}"), "");
}

TEST_F(Environment, WhatIsNoVariableStays) {
  for (const char* text : {"", "$", "$HOME", "a$b", "$$", "100$", "{CB_HOST}", "$ {CB_HOST}"})
    EXPECT_EQ(expanded(text), text);
}

TEST_F(Environment, ADefaultStandsInForAVariableThatIsUnsetOrEmpty) {
  EXPECT_EQ(expanded("${CB_NONE:-5 s}"), "5 s");
  EXPECT_EQ(expanded("${CB_EMPTY:-5 s}"), "5 s");
  EXPECT_EQ(expanded("${CB_NONE:-}"), "");
  EXPECT_EQ(expanded("${CB_HOST:-5 s}"), "10.0.0.1");
}

TEST_F(Environment, ADollarBeforeItKeepsTheTextAsItIs) {
  EXPECT_EQ(expanded("$${CB_HOST}"), "${CB_HOST}");
  EXPECT_EQ(expanded("a$${b} ${CB_HOST}"), "a${b} 10.0.0.1");
}

TEST_F(Environment, WhatAVariableHoldsIsNotExpandedAgain) {
  setenv("CB_NESTED", "${CB_HOST}", 1);
  EXPECT_EQ(expanded("${CB_NESTED}"), "${CB_HOST}");
}

TEST_F(Environment, AVariableThatIsUnsetIsAnError) {
  EXPECT_EQ(error("tcp://${CB_NONE}:80"), "the environment has no CB_NONE; set it, or write ${CB_NONE:-DEFAULT}");
}

TEST_F(Environment, WhatIsNotUnderstoodIsAnError) {
  EXPECT_EQ(error("${CB_HOST"), "${ has no }; write ${NAME} or ${NAME:-DEFAULT}");
  for (const char* text : {"${}", "${1A}", "${A-B}", "${A B}", "${:-x}"})
    EXPECT_NE(error(text).find("is no name of a variable"), std::string::npos) << text << ": " << error(text);
}

}  // namespace
}  // namespace cloudbus
