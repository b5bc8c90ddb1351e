// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/passed_sockets.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

namespace cloudbus {
namespace {

using Names = std::vector<std::string>;

// With descriptors that systemd never passes here: what is open is left alone.
class Passed : public testing::Test {
 protected:
  void TearDown() override {
    for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(name);
  }
  static void set(const std::string& pid, const char* count, const char* names) {
    ::setenv("LISTEN_PID", pid.c_str(), 1);
    ::setenv("LISTEN_FDS", count, 1);
    if (names) ::setenv("LISTEN_FDNAMES", names, 1);
  }
  static std::string own_pid() { return std::to_string(::getpid()); }
};

TEST_F(Passed, WithoutVariablesNothingIsThereAndNothingIsWrong) {
  PassedSockets passed;
  EXPECT_EQ(passed.names(), Names{});
  EXPECT_EQ(passed.problems(), Names{});
  EXPECT_TRUE(passed.named("orders").empty());
}

TEST_F(Passed, TheVariablesAreRemoved) {
  set(own_pid(), "0", "");
  PassedSockets passed;
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) EXPECT_EQ(std::getenv(name), nullptr) << name;
}

TEST_F(Passed, SocketsOfAnotherProcessAreNotTaken) {
  set("1", "2", "a:b");
  PassedSockets passed;
  EXPECT_EQ(passed.problems(), Names{"sockets were passed to the process \"1\", not to this one"});
  EXPECT_EQ(std::getenv("LISTEN_PID"), nullptr);
}

TEST_F(Passed, ANumberThatIsNoneIsTold) {
  for (const char* count : {"x", "-1", "1x", "65537", ""}) {
    set(own_pid(), count, nullptr);
    PassedSockets passed;
    ASSERT_EQ(passed.problems().size(), 1u) << count;
    EXPECT_TRUE(passed.problems()[0].starts_with("LISTEN_FDS is ")) << passed.problems()[0];
  }
}

}  // namespace
}  // namespace cloudbus
