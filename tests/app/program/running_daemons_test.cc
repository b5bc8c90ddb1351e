// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/running_daemons.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

std::string file_of(std::vector<std::string> words) {
  words.insert(words.begin(), "controller");
  return file_of_command(words, "default.ini");
}

TEST(RunningDaemons, TheFileIsReadFromEveryFormOfACommandLine) {
  EXPECT_EQ(file_of({}), "default.ini");
  EXPECT_EQ(file_of({"-v"}), "default.ini");
  EXPECT_EQ(file_of({"-f", "a.ini"}), "a.ini");
  EXPECT_EQ(file_of({"-fa.ini"}), "a.ini");
  EXPECT_EQ(file_of({"-vf", "a.ini"}), "a.ini");
  EXPECT_EQ(file_of({"--file", "a.ini"}), "a.ini");
  EXPECT_EQ(file_of({"--file=a.ini", "-v"}), "a.ini");
  EXPECT_EQ(file_of({"-l", "-f", "-p", "x.pid"}), "default.ini");
  EXPECT_EQ(file_of({"-p", "f", "-f", "a.ini", "--log-level", "debug"}), "a.ini");
  EXPECT_EQ(file_of({"-f"}), "");
}

}  // namespace
}  // namespace cloudbus
