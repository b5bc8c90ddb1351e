// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/slips.h"

#include <gtest/gtest.h>

#include "cloudbus/app/config/config.h"

namespace cloudbus {
namespace {

using std::string;

constexpr Role kController = Role::Controller;
constexpr Role kSegment = Role::Segment;

// The one error of a service in which `line` is line 2; what it lacks comes behind.
string error_of(Role role, const string& line) {
  string rest = line.starts_with("server") ? "bind=unix:@b\n" : "server=unix:@s\n";
  auto result =
      parse_config(role, "f.ini", "[A]\n" + line + "\n" + (line.starts_with("idle") ? "bind=unix:@b\n" : "") + rest);
  if (result.errors.size() != 1) return std::to_string(result.errors.size()) + " errors";
  EXPECT_TRUE(result.errors[0].starts_with("f.ini:2: ")) << result.errors[0];
  return result.errors[0].substr(9);
}

void expect_hint(Role role, const string& line, const string& hint) {
  string error = error_of(role, line);
  EXPECT_NE(error.find("perhaps " + hint), string::npos) << line << "\n" << error;
}

TEST(Slips, AnotherWayToWriteAnAddressIsUnderstood) {
  expect_hint(kController, "bind=http://127.0.0.1:80", "\"bind = tcp://127.0.0.1:80\" is meant");
  expect_hint(kController, "bind=https://127.0.0.1/", "\"bind = tcp://127.0.0.1:443\" is meant");
  expect_hint(kController, "server=http://10.0.0.1/path", "\"server = tcp://10.0.0.1:80\" is meant");
  expect_hint(kSegment, "server=postgres://db.example:5432/orders", "\"server = tcp://db.example:5432\" is meant");
  expect_hint(kController, "bind=127.0.0.1:80", "\"bind = tcp://127.0.0.1:80\" is meant");
  expect_hint(kController, "server=orders.example:80", "\"server = tcp://orders.example:80\" is meant");
  expect_hint(kController, "server=tcp:10.0.0.1:80", "\"server = tcp://10.0.0.1:80\" is meant");
  expect_hint(kController, "bind=80", "\"bind = tcp://0.0.0.0:80\" is meant");
  expect_hint(kController, "bind=:80", "\"bind = tcp://0.0.0.0:80\" is meant");
  expect_hint(kController, "bind=tcp://*:80", "\"bind = tcp://0.0.0.0:80\" is meant");
  expect_hint(kSegment, "server=5432", "\"server = tcp://127.0.0.1:5432\" is meant");
  expect_hint(kController, "bind=localhost:80", "\"bind = tcp://127.0.0.1:80\" is meant");
  expect_hint(kController, "bind=tcp://localhost:80", "\"bind = tcp://127.0.0.1:80\" is meant");
  expect_hint(kController, "bind=tcp://::1:80", "\"bind = tcp://[::1]:80\" is meant");
  expect_hint(kController, "bind=tcp://[::ffff:10.0.0.1]:80", "\"bind = tcp://10.0.0.1:80\" is meant");
  expect_hint(kController, "bind=/run/app.sock", "\"bind = unix:///run/app.sock\" is meant");
  expect_hint(kSegment, "server=@app", "\"server = unix:@app\" is meant");
}

TEST(Slips, QuotesCommentsAndListsAreNamed) {
  expect_hint(kController, "bind=\"tcp://127.0.0.1:80\"",
              "\"bind = tcp://127.0.0.1:80\" is meant: a value has no quotes");
  expect_hint(kController, "idle_timeout='5 s'", "\"idle_timeout = 5 s\" is meant: a value has no quotes");
  expect_hint(kController, "server=tcp://10.0.0.1:80 # the first",
              "\"server = tcp://10.0.0.1:80\" is meant: a comment behind a value begins with a ;");
  expect_hint(kController, "bind=unix:/run/a b.sock # here", "\"bind = unix:/run/a b.sock\" is meant: a comment");
  expect_hint(kController, "idle_timeout=5 s # at most", "\"idle_timeout = 5 s\" is meant");
  expect_hint(kController, "server=tcp://10.0.0.1:80, tcp://10.0.0.2:80",
              "\"server = tcp://10.0.0.1:80\" and \"server = tcp://10.0.0.2:80\" are meant: a line has one address");
  expect_hint(kController, "bind=unix:@b unix:@c unix:@d",
              "\"bind = unix:@b\" and \"bind = unix:@c\" and so on are meant");
}

TEST(Slips, AMissingEqualsSignIsNamed) {
  expect_hint(kController, "idle_timeout 5 s", "\"idle_timeout = 5 s\" is meant");
  EXPECT_EQ(error_of(kController, "idle words"),
            "this line is not understood; allowed are [SECTION], KEY = VALUE, and comments behind a ; or #");
}

TEST(Slips, UnitsAreUnderstood) {
  expect_hint(kController, "idle_timeout=5 seconds", "\"idle_timeout = 5 s\" is meant");
  expect_hint(kController, "idle_timeout=5m", "\"idle_timeout = 5 min\" is meant");
  expect_hint(kController, "idle_timeout=300msec", "\"idle_timeout = 300 ms\" is meant");
  auto result = parse_config(kController, "f.ini", "[Cloudbus]\nmemory=64MiB\n[A]\nbind=unix:@b\nserver=unix:@s\n");
  EXPECT_EQ(result.errors.size(), 1u);
  result = parse_config(kController, "f.ini", "[Cloudbus]\nmemory=64MB\n[A]\nbind=unix:@b\nserver=unix:@s\n");
  ASSERT_EQ(result.errors.size(), 1u);
  EXPECT_NE(result.errors[0].find("perhaps \"memory = 64 M\" is meant"), string::npos) << result.errors[0];
}

TEST(Slips, AWordThatWasOnlyBegunIsUnderstood) {
  auto hint = [](const string& line) {
    auto result = parse_config(kController, "f.ini", "[Cloudbus]\n" + line + "\n[A]\nbind=unix:@b\nserver=unix:@s\n");
    return result.errors.empty() ? "" : result.errors[0];
  };
  EXPECT_EQ(hint("log_level=warn"),
            "f.ini:2: log_level: \"warn\" is not known here, perhaps warning is meant; allowed are trace, debug, info, "
            "warning, error and off");
  expect_hint(kController, "idle=5\nidle_timeout=5", "idle_timeout is meant");
  auto several = parse_config(kController, "f.ini", "[A]\nbind=unix:@b\nserver=unix:@s\nbalance=leastconn\n");
  ASSERT_EQ(several.errors.size(), 1u);
  EXPECT_NE(several.errors[0].find("perhaps least connections is meant"), string::npos) << several.errors[0];
}

TEST(Slips, AGuessThatTheKeyDoesNotTakeIsNotMade) {
  for (const char* line : {"bind=http://", "server=tcp://", "server=udp://10.0.0.1:53", "idle_timeout=5 fortnights",
                           "bind=tcp://10.0.0.1", "server=\"\"", "bind=# none", "server=a, b"})
    EXPECT_EQ(error_of(kController, line).find("perhaps"), string::npos) << error_of(kController, line);
}

TEST(AddressValue, TheErrorShowsTheValueAndWhatIsAllowedThere) {
  EXPECT_EQ(error_of(kController, "bind=nonsense"),
            "bind: \"nonsense\": this is not an address; allowed here are tcp://IPV4:PORT, tcp://[IPV6]:PORT, "
            "unix:///PATH, unix:@NAME and systemd:NAME");
  EXPECT_EQ(error_of(kController, "bind=srv:_a._tcp.example"),
            "bind: \"srv:_a._tcp.example\": this is a name, and a bind has a numeric address; allowed here are "
            "tcp://IPV4:PORT, tcp://[IPV6]:PORT, unix:///PATH, unix:@NAME and systemd:NAME");
  string error = error_of(kController, "server=nonsense");
  EXPECT_NE(error.find("srv:NAME"), string::npos) << error;
  EXPECT_EQ(error.find("builtin"), string::npos) << error;
  EXPECT_NE(error_of(kSegment, "server=nonsense").find("builtin:echo"), string::npos);
  EXPECT_EQ(error_of(kSegment, "server=tcp://10.0.0.1:99999"),
            "server: \"tcp://10.0.0.1:99999\": the port is not a number of 1 to 65535; write tcp://ADDRESS:PORT and "
            "nothing after it");
}

TEST(AddressValue, ALinkLocalAddressNeedsAZoneAndAMappedOneIsNoBind) {
  for (const char* key : {"bind", "server"}) {
    string error = error_of(kController, string(key) + "=tcp://[fe80::1]:80");
    EXPECT_NE(error.find("a link-local address needs a zone"), string::npos) << error;
  }
  EXPECT_NE(error_of(kController, "bind=tcp://[::ffff:127.0.0.1]:80").find("takes no IPv4 clients"), string::npos);
  auto good = parse_config(kSegment, "f.ini", "[A]\nbind=tcp://[fe80::1%eth0]:80\nserver=tcp://[fe80::2%eth1]:81\n");
  ASSERT_EQ(good.errors, std::vector<string>());
  string ini = to_ini(*good.config);
  EXPECT_NE(ini.find("bind=tcp://[fe80::1%eth0]:80\nserver=tcp://[fe80::2%eth1]:81\n"), string::npos) << ini;
}

TEST(AddressValue, BindsThatOverlapAreAnError) {
  auto errors = [](const string& one, const string& two) {
    return parse_config(kSegment, "f.ini", "[A]\nbind=" + one + "\nbind=" + two + "\nserver=builtin:echo\n").errors;
  };
  for (auto [one, two] : {std::pair("tcp://0.0.0.0:80", "tcp://127.0.0.1:80"),
                          {"tcp://127.0.0.1:80", "tcp://0.0.0.0:80"},
                          {"tcp://[::]:80", "tcp://[fe80::1%eth0]:80"}}) {
    ASSERT_EQ(errors(one, two).size(), 1u) << one;
    EXPECT_EQ(errors(one, two)[0], string("f.ini:3: bind: ") + two + " overlaps with " + one +
                                       " in line 2; allowed is the port once, or at different addresses");
  }
  EXPECT_EQ(errors("tcp://0.0.0.0:80", "tcp://[::]:80").size(), 0u);
  EXPECT_EQ(errors("tcp://0.0.0.0:80", "tcp://127.0.0.1:81").size(), 0u);
  EXPECT_EQ(errors("tcp://127.0.0.1:80", "tcp://127.0.0.2:80").size(), 0u);
}

TEST(AddressValue, AServerAtAPortOfItsOwnProcessIsALoop) {
  auto errors = [](const string& bind, const string& server) {
    return parse_config(kSegment, "f.ini", "[A]\nbind=" + bind + "\nserver=" + server + "\n").errors;
  };
  EXPECT_EQ(
      errors("tcp://0.0.0.0:80", "tcp://127.0.0.1:80"),
      std::vector<string>{"f.ini:3: server: tcp://127.0.0.1:80 is bound by this process itself in line 2, a loop; "
                          "allowed are addresses of other processes"});
  EXPECT_EQ(errors("tcp://[::]:80", "tcp://[::1]:80").size(), 1u);
  EXPECT_EQ(errors("tcp://0.0.0.0:80", "tcp://10.0.0.1:80").size(), 0u);
  EXPECT_EQ(errors("tcp://0.0.0.0:80", "tcp://127.0.0.1:81").size(), 0u);
}

}  // namespace
}  // namespace cloudbus
