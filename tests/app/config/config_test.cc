// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>

#include "cloudbus/app/config/ini.h"
#include "cloudbus/app/config/values.h"

namespace cloudbus {
namespace {

using namespace std::chrono_literals;
using std::string;

constexpr Role kController = Role::Controller;
constexpr Role kSegment = Role::Segment;

const string kGood = "bind=tcp://127.0.0.1:1\nserver=tcp://127.0.0.1:2\n";
const string kMore = "server=tcp://127.0.0.1:3\nserver=tcp://127.0.0.1:4\n";  // two servers more

ConfigResult parse(Role role, const string& text) { return parse_config(role, "f.ini", text); }

// The errors in one string, a line each; empty when there are none.
string errors(Role role, const string& text) {
  string all;
  for (const string& error : parse(role, text).errors) all += error + "\n";
  return all;
}

// The one error in a good service with `line` added as its line 4.
string line_error(Role role, const string& line) {
  auto result = parse(role, "[A]\n" + kGood + line + "\n");
  if (result.errors.size() != 1) return std::to_string(result.errors.size()) + " errors";
  string prefix = "f.ini:4: ";
  EXPECT_TRUE(result.errors[0].starts_with(prefix)) << result.errors[0];
  return result.errors[0].substr(prefix.size());
}

ServiceConfig service_with(Role role, const string& line) {
  auto result = parse(role, "[A]\n" + kGood + line + "\n");
  EXPECT_EQ(result.errors, std::vector<string>());
  return result.config ? *result.config->services.at(0) : ServiceConfig();
}

Config daemon_with(const string& line) {
  auto result = parse(kController, "[Cloudbus]\n" + line + "\n[A]\n" + kGood);
  EXPECT_EQ(result.errors, std::vector<string>());
  return result.config ? *result.config : Config();
}

bool contains(const string& text, std::string_view part) { return text.find(part) != string::npos; }

TEST(Config, AFileOfTheOriginalCloudbusIsUnderstood) {
  auto result = parse(kController,
                      "[Cloudbus]\n\n[Orders]\nbind=tcp://127.0.0.1:8080\nserver=tcp://10.0.0.1:9000\n"
                      "mode=Full Duplex\n\n[Stock]\nbind=unix:///run/stock.sock\nbackend=unix:///run/segment.sock\n");
  ASSERT_EQ(result.errors, std::vector<string>());
  const Config& config = *result.config;
  ASSERT_EQ(config.services.size(), 2u);
  EXPECT_EQ(config.services[0]->name, "Orders");
  EXPECT_EQ(config.services[0]->line.number, 3);
  EXPECT_EQ(config.services[0]->binds.at(0).endpoint.to_string(), "tcp://127.0.0.1:8080");
  EXPECT_EQ(config.services[0]->binds.at(0).line.number, 4);
  EXPECT_EQ(config.services[0]->servers[0].endpoint.to_string(), "tcp://10.0.0.1:9000");
  EXPECT_EQ(config.services[1]->servers[0].endpoint.to_string(), "unix:///run/segment.sock");
}

TEST(Config, DefaultsAreTheDocumentedOnes) {
  auto result = parse(kController, "[A]\n" + kGood);
  ASSERT_TRUE(result.config);
  EXPECT_EQ(result.config->threads, 1);
  EXPECT_EQ(result.config->log_level, LogLevel::Info);
  EXPECT_EQ(result.config->log_format, LogFormat::Text);
  EXPECT_EQ(result.config->pid_file, "");
  EXPECT_EQ(result.config->drain_timeout, 30s);
  EXPECT_EQ(result.config->drain_idle, 5s);
  EXPECT_EQ(result.config->memory, 512u << 20);
  EXPECT_EQ(result.config->socket_mode, 0660u);
  const ServiceConfig& service = *result.config->services.at(0);
  EXPECT_EQ(service.service, "A");
  EXPECT_EQ(service.socket_mode, 0660u);
  EXPECT_EQ(service.connect_timeout, 5s);
  EXPECT_EQ(service.idle_timeout, 0s);
  EXPECT_EQ(service.half_close_timeout, 5min);
  EXPECT_EQ(service.resume, 30s);
  EXPECT_EQ(service.links, 1);
  EXPECT_FALSE(service.health.is_active());
  EXPECT_EQ(service.mode, Mode::OneToOne);
  EXPECT_EQ(service.balance, BalancePolicy::RoundRobin);
  EXPECT_EQ(service.fanout.legs, 0u);
  EXPECT_EQ(service.fanout.quorum, 1u);
  EXPECT_EQ(service.fanout.lag, 16u << 20);
}

TEST(Config, EveryKeyOfTheDaemonIsStored) {
  EXPECT_EQ(daemon_with("threads = 64").threads, 64);
  EXPECT_GE(daemon_with("threads = auto").threads, 1);
  EXPECT_EQ(daemon_with("log_level = WARNING").log_level, LogLevel::Warning);
  EXPECT_EQ(daemon_with("Log-Format = json").log_format, LogFormat::Json);
  EXPECT_EQ(daemon_with("pid_file = /run/a b.pid").pid_file, "/run/a b.pid");
  EXPECT_EQ(daemon_with("drain_timeout = 0").drain_timeout, 0s);
  EXPECT_EQ(daemon_with("drain_idle = 0").drain_idle, 0s);
  EXPECT_EQ(daemon_with("memory = 2 g").memory, std::uint64_t{2} << 30);
  EXPECT_EQ(daemon_with("socket_mode = 600").socket_mode, 0600u);
  EXPECT_EQ(daemon_with("socket_group = 600").socket_group, (SocketGroup{"600", 600}));
}

TEST(Config, NameServersHavePortsAndZones) {
  EXPECT_EQ(daemon_with("nameservers = 10.0.0.2, [::1]:5353 [fe80::53%eth0]").nameservers,
            "10.0.0.2:53,[::1]:5353,[fe80::53%eth0]:53");
  for (const char* value : {"dns.example", "10.0.0.2:0", "[::1%eth0]:53", "[fe80::53%]:53"}) {
    string error = errors(kController, "[Cloudbus]\nnameservers=" + string(value) + "\n[A]\n" + kGood);
    EXPECT_TRUE(contains(error, "is no name server; allowed are")) << error;
  }
  string error = errors(kController, "[Cloudbus]\nnameservers=[fe80::53]:53\n[A]\n" + kGood);
  EXPECT_TRUE(contains(error, "needs the zone of its link")) << error;
}

TEST(Config, EveryKeyOfAServiceIsStored) {
  EXPECT_EQ(service_with(kController, "service = Some Name").service, "Some Name");
  EXPECT_EQ(service_with(kController, "links = 64").links, 64);
  EXPECT_EQ(service_with(kController, "links = Auto").links, 0);
  EXPECT_EQ(service_with(kSegment, "socket_mode=0777").socket_mode, 0777u);
  EXPECT_EQ(service_with(kSegment, "socket_group=root").socket_group, (SocketGroup{"root", 0}));
  EXPECT_EQ(service_with(kSegment, "socket_group=none such").socket_group, (SocketGroup{"none such", {}}));
  EXPECT_EQ(service_with(kSegment, "connect_timeout=300 ms").connect_timeout, 300ms);
  EXPECT_EQ(service_with(kSegment, "idle timeout=2h").idle_timeout, 2h);
  EXPECT_EQ(service_with(kSegment, "HALF-CLOSE-TIMEOUT=0").half_close_timeout, 0s);
  EXPECT_EQ(service_with(kSegment, "resume=0").resume, 0s);
  EXPECT_EQ(service_with(kController, "resume=2 min").resume, 2min);
  EXPECT_EQ(service_with(kSegment, "bind=unix:@b").binds.size(), 2u);
}

TEST(Config, TheDaemonsSocketModeAndGroupAreTheServicesDefaultsWhereverTheyStand) {
  auto result = parse(kController, "[A]\n" + kGood + "[Cloudbus]\nsocket_mode=0600\nsocket_group=5\n" +
                                       "[B]\nbind=unix:@b\nserver=unix:@s\nsocket_mode=0666\nsocket_group=7\n");
  ASSERT_TRUE(result.config);
  EXPECT_EQ(result.config->services.at(0)->socket_group.id, 5u);
  EXPECT_EQ(result.config->services.at(1)->socket_group.id, 7u);
  EXPECT_EQ(result.config->services.at(0)->socket_mode, 0600u);
  EXPECT_EQ(result.config->services.at(1)->socket_mode, 0666u);
}

TEST(Config, HalfAndFullDuplexAreAcceptedInEverySpelling) {
  for (const char* mode : {"half duplex", "FULL_DUPLEX", "Half-Duplex", "full  duplex"}) {
    EXPECT_EQ(errors(kController, "[A]\n" + kGood + "mode=" + mode + "\n"), "");
  }
  EXPECT_EQ(line_error(kController, "mode=duplex"),
            "mode: \"duplex\" is not known here; allowed are half duplex, full duplex, publish and balance");
  EXPECT_EQ(line_error(kSegment, "mode=duplex"),
            "mode: \"duplex\" is not known here; allowed are balance, and with one server half duplex and full duplex");
}

TEST(Config, OneServerIsOneToOneButForAControllersPublish) {
  for (const char* line : {"", "mode=half duplex", "mode=full_duplex", "mode=Balance"}) {
    EXPECT_EQ(service_with(kController, line).mode, Mode::OneToOne) << line;
    EXPECT_EQ(service_with(kSegment, line).mode, Mode::OneToOne) << line;
  }
  EXPECT_EQ(service_with(kController, "mode=Publish").mode, Mode::Publish);
}

TEST(Config, AControllersSeveralServersAreHalfDuplexUnlessAModeIsSet) {
  EXPECT_EQ(service_with(kController, kMore).mode, Mode::HalfDuplex);
  EXPECT_EQ(service_with(kController, kMore + "mode=half-duplex").mode, Mode::HalfDuplex);
  EXPECT_EQ(service_with(kController, "mode=full duplex\n" + kMore).mode, Mode::FullDuplex);
  EXPECT_EQ(service_with(kController, kMore + "mode=publish").mode, Mode::Publish);
  EXPECT_EQ(service_with(kController, kMore + "mode=balance").mode, Mode::Balance);
}

TEST(Config, ASegmentsSeveralServersAreBalanced) {
  EXPECT_EQ(service_with(kSegment, kMore).mode, Mode::Balance);
  EXPECT_EQ(service_with(kSegment, kMore + "mode=balance").mode, Mode::Balance);
  EXPECT_EQ(line_error(kSegment, "mode=half duplex\n" + kMore),
            "mode: half duplex with several servers is the controller's work: a segment sends each client to one of "
            "its servers; allowed with several is balance");
  EXPECT_TRUE(contains(line_error(kSegment, "mode=full duplex\n" + kMore), "mode: full duplex with several servers"));
  for (const string& more : {string(), kMore}) {
    EXPECT_EQ(line_error(kSegment, "mode=publish\n" + more),
              "mode: publish is a controller's mode: a segment sends each client to one of its servers; allowed are "
              "balance, and with one server half duplex and full duplex");
  }
}

TEST(Config, EveryBalanceIsStored) {
  auto balance = [](Role role, const string& word) { return service_with(role, kMore + "balance=" + word).balance; };
  for (Role role : {kController, kSegment}) {
    EXPECT_EQ(balance(role, "Round Robin"), BalancePolicy::RoundRobin);
    EXPECT_EQ(balance(role, "least_connections"), BalancePolicy::LeastConnections);
    EXPECT_EQ(balance(role, "RANDOM"), BalancePolicy::Random);
    EXPECT_EQ(balance(role, "hash"), BalancePolicy::Hash);
    EXPECT_EQ(balance(role, "first"), BalancePolicy::First);
    EXPECT_EQ(
        line_error(role, "balance=fair"),
        "balance: \"fair\" is not known here; allowed are round robin, least connections, random, hash and first");
  }
}

TEST(Config, TheLimitsOfAFanoutAreStored) {
  auto fanout = [](const string& lines) { return service_with(kController, kMore + lines).fanout; };
  EXPECT_EQ(fanout("fanout=1").legs, 1u);
  EXPECT_EQ(fanout("fanout=3").legs, 3u);
  EXPECT_EQ(fanout("fanout=ALL").legs, 0u);
  EXPECT_EQ(fanout("quorum=3").quorum, 3u);
  EXPECT_EQ(fanout("fanout=2\nquorum=2").quorum, 2u);
  EXPECT_EQ(fanout("lag_limit=64K").lag, 64u << 10);
  EXPECT_EQ(fanout("mode=publish\nLag Limit=1G").lag, 1u << 30);
}

TEST(Config, FanoutAndQuorumFitTheServersWhereverTheyStand) {
  EXPECT_EQ(line_error(kController, "fanout=4\n" + kMore),
            "fanout: 4 is more than there are servers; allowed is 1 to 3, or all");
  EXPECT_EQ(line_error(kController, "quorum=4\n" + kMore),
            "quorum: 4 is more than there are servers; allowed is 1 to 3");
  EXPECT_EQ(line_error(kController, "quorum=3\n" + kMore + "fanout=2"),
            "quorum: 3 is more than fanout; allowed is 1 to 2");
  EXPECT_EQ(line_error(kController, "quorum=3\n" + kMore + "fanout=1"), "quorum: 3 is more than fanout; allowed is 1");
  EXPECT_EQ(errors(kController, "[A]\n" + kGood + kMore + "fanout=9\nquorum=8\n"),
            "f.ini:6: fanout: 9 is more than there are servers; allowed is 1 to 3, or all\n"
            "f.ini:7: quorum: 8 is more than there are servers; allowed is 1 to 3\n");
}

TEST(Config, FanoutAndQuorumOfOneServerAreOne) {
  for (const char* mode : {"", "mode=publish\n"}) {
    EXPECT_EQ(service_with(kController, string(mode) + "fanout=1\nquorum=1").fanout.quorum, 1u);
    EXPECT_EQ(service_with(kController, string(mode) + "fanout=all").fanout.legs, 0u);
  }
  EXPECT_EQ(line_error(kController, "fanout=2"), "fanout: 2 is more than there are servers; allowed is 1, or all");
  EXPECT_EQ(line_error(kController, "quorum=2\nmode=publish"),
            "quorum: 2 is more than there are servers; allowed is 1");
}

TEST(Config, ABalancedClientHasOneLeg) {
  EXPECT_EQ(service_with(kController, kMore + "mode=balance\nfanout=1\nquorum=1").mode, Mode::Balance);
  for (const char* line : {"fanout=2", "fanout=all", "quorum=2"}) {
    EXPECT_TRUE(contains(line_error(kController, string(line) + "\nmode=balance\n" + kMore),
                         ": mode balance sends each client to one server; allowed is 1"));
  }
}

TEST(Config, ValuesOutOfTheirBoundsAreErrors) {
  for (const char* line : {"fanout=0",
                           "fanout=1001",
                           "fanout=most",
                           "quorum=0",
                           "quorum=all",
                           "quorum=1001",
                           "lag_limit=65535",
                           "lag_limit=1025M",
                           "lag_limit=0",
                           "lag_limit=lots",
                           "links=0",
                           "links=65",
                           "links=many",
                           "health=",
                           "health=udp 5 s",
                           "health=tcp",
                           "health=tcp fall 3",
                           "health=tcp 0",
                           "health=tcp 99 ms",
                           "health=tcp 25 h",
                           "health=tcp -5 s",
                           "health=tcp 5 s fall",
                           "health=tcp 5 s fall 0",
                           "health=tcp 5 s rise 101",
                           "health=tcp 5 s fall 3 4",
                           "health=tcp 5 s up 3",
                           "health=passive 5 s",
                           "links=1.5",
                           "links=-1",
                           "links=99999999999999999999",
                           "connect_timeout=0",
                           "connect_timeout=25 h",
                           "connect_timeout=86400001ms",
                           "connect_timeout=5 d",
                           "connect_timeout=s",
                           "connect_timeout=18446744073709551615 h",
                           "idle_timeout=1.5 s",
                           "idle_timeout=-1",
                           "half_close_timeout=never",
                           "socket_mode=0778",
                           "socket_mode=1000",
                           "socket_mode=u+rw",
                           "socket_mode=-1",
                           "server=tcp://127.0.0.1:0"}) {
    EXPECT_TRUE(contains(line_error(kController, line), ";")) << line << ": " << line_error(kController, line);
  }
  for (const char* line :
       {"threads=0", "threads=65", "threads=many", "memory=16383K", "memory=1025G", "memory=0",
        "memory=18446744073709551615G", "memory=1T", "log_level=loud", "log_format=xml", "drain_timeout=25h"}) {
    auto result = parse(kController, string("[Cloudbus]\n") + line + "\n[A]\n" + kGood);
    ASSERT_EQ(result.errors.size(), 1u) << line;
    EXPECT_TRUE(result.errors[0].starts_with("f.ini:2: ")) << result.errors[0];
    EXPECT_TRUE(contains(result.errors[0], "; allowed ")) << result.errors[0];
  }
}

TEST(Config, AllErrorsComeInOneRunInTheOrderOfTheirLines) {
  EXPECT_EQ(errors(kController,
                   "[Cloudbus]\n"
                   "threads=0\n"
                   "junk\n"
                   "[A]\n"
                   "server=tcp://127.0.0.1:2\n"
                   "[B]\n"
                   "bind=tcp://127.0.0.1:99999\n"
                   "server=tcp://127.0.0.1:2\n"
                   "idle_timeout=x\n"),
            "f.ini:2: threads: \"0\" is out of range; allowed is 1 to 64, or auto\n"
            "f.ini:3: this line is not understood; allowed are [SECTION], KEY = VALUE, and comments behind a ; or #\n"
            "f.ini:4: [A] has no bind; write bind = ADDRESS, once or more\n"
            "f.ini:7: bind: \"tcp://127.0.0.1:99999\": the port is not a number of 0 to 65535; write "
            "tcp://ADDRESS:PORT and nothing after it\n"
            "f.ini:9: idle_timeout: \"x\" is not a time; allowed is 1 ms to 24 h, or 0, as in 300 ms, 5 s, 5 min or "
            "2 h\n");
}

TEST(Config, AnUnknownKeyNamesTheAllowedOnesAndTheNearest) {
  string error = line_error(kSegment, "conect_timeout = 5");
  EXPECT_TRUE(contains(error, "no key \"conect_timeout\", perhaps connect_timeout is meant; allowed in")) << error;
  EXPECT_TRUE(contains(
      error, "the service of a segment are bind, server, backend, mode, balance, refresh, health, socket_mode,"))
      << error;
  EXPECT_TRUE(
      contains(line_error(kSegment, "server tcp://[::1]:2"), "\"server tcp\", perhaps a = is missing behind server"));
  EXPECT_FALSE(contains(line_error(kSegment, "colour = red"), "perhaps"));
}

TEST(Config, AKeyInTheWrongPlaceIsToldWhereItBelongs) {
  EXPECT_TRUE(contains(line_error(kSegment, "threads=2"), "threads belongs in the section [Cloudbus]"));
  EXPECT_TRUE(contains(line_error(kSegment, "service=B"), "service is a controller's key"));
  EXPECT_TRUE(contains(line_error(kSegment, "links=2"), "links is a controller's key"));
  EXPECT_TRUE(contains(line_error(kSegment, "fanout=all"), "fanout is a controller's key: a segment sends each"));
  EXPECT_TRUE(contains(line_error(kSegment, "quorum=1"), "quorum is a controller's key: a segment sends each"));
  EXPECT_TRUE(contains(line_error(kSegment, "lag limit=1M"), "lag_limit is a controller's key: a segment sends each"));
  EXPECT_TRUE(contains(errors(kSegment, "[Cloudbus]\nidle_timeout=1\n[A]\n" + kGood),
                       "f.ini:2: idle_timeout belongs in the section of a service"));
  EXPECT_TRUE(contains(errors(kController, "[Cloudbus]\nbind=tcp://127.0.0.1:3\n[A]\n" + kGood),
                       "f.ini:2: a controller has no bind in [Cloudbus]: its clients cannot say which"));
}

TEST(Config, ASingleKeyTwiceNamesTheFirstLine) {
  EXPECT_EQ(errors(kController, "[A]\n" + kGood + "links=1\nLinks=2\n"),
            "f.ini:5: links: it is set in line 4 already; once is allowed\n");
}

TEST(Config, ServersAreKeptInTheirOrder) {
  auto servers = service_with(kController, "backend=unix:@b\nserver=tcp://127.0.0.1:1000").servers;
  ASSERT_EQ(servers.size(), 3u);
  EXPECT_EQ(servers[0].endpoint.to_string(), "tcp://127.0.0.1:2");
  EXPECT_EQ(servers[1].endpoint.to_string(), "unix:@b");
  EXPECT_EQ(servers[2].endpoint.to_string(), "tcp://127.0.0.1:1000");
  EXPECT_EQ(servers[2].line.number, 5);
}

TEST(Config, TheSameServerTwiceInAServiceNamesTheFirstLine) {
  string expected =
      "tcp://127.0.0.1:2 is a server of this service in line 3 already; a server is allowed once in a service";
  EXPECT_EQ(line_error(kController, "server=tcp://127.0.0.1:2"), "server: " + expected);
  EXPECT_EQ(line_error(kSegment, "backend=TCP://127.0.0.1:2"), "backend: " + expected);
  EXPECT_EQ(errors(kController, "[A]\n" + kGood + "[B]\nbind=unix:@b\nserver=tcp://127.0.0.1:2\n"), "");
}

TEST(Config, AServiceHasAtMostAThousandServers) {
  string thousand;
  for (int i = 1; i < 1000; ++i) thousand += "server=unix:@" + std::to_string(i) + "\n";
  EXPECT_EQ(service_with(kController, thousand + "fanout=1000\nquorum=1000").servers.size(), 1000u);
  EXPECT_EQ(errors(kController, "[A]\n" + kGood + thousand + "server=unix:@a\nserver=unix:@b\n"),
            "f.ini:1003: server: a service has at most 1000 servers\n");
}

TEST(Config, ASectionTwiceNamesTheFirstLine) {
  EXPECT_EQ(errors(kController, "[A]\n" + kGood + "[ A ]\n"),
            "f.ini:4: [A] was begun in line 1 already; a section is allowed once\n");
  EXPECT_TRUE(contains(errors(kController, "[Cloudbus]\n[A]\n" + kGood + "[CLOUDBUS]\n"),
                       "f.ini:5: [CLOUDBUS] was begun in line 1 already"));
  EXPECT_EQ(errors(kController, "[A]\n" + kGood + "[a]\nbind=unix:@a\nserver=unix:@s\n"), "");
}

TEST(Config, WhatAServiceNeedsIsAskedFor) {
  EXPECT_EQ(errors(kController, "[A]\n"),
            "f.ini:1: [A] has no server; write server = ADDRESS, once or more\n"
            "f.ini:1: [A] has no bind; write bind = ADDRESS, once or more\n");
  EXPECT_TRUE(contains(errors(kSegment, "[A]\nserver=builtin:echo\n"), "or in [Cloudbus] for all services"));
  EXPECT_EQ(errors(kSegment, "[A]\nserver=builtin:echo\n[Cloudbus]\nbind=tcp://127.0.0.1:0\n"), "");
  EXPECT_TRUE(contains(errors(kSegment, "\n[Cloudbus]\n\n"), "f.ini:3: there is no service; write"));
  EXPECT_TRUE(contains(errors(kSegment, ""), "f.ini:1: there is no service; write"));
}

TEST(Config, OneMistakeGivesOneError) {
  EXPECT_EQ(parse(kController, "[A]\nbind\nserver=unix:@s\n").errors.size(), 1u);
  EXPECT_EQ(parse(kController, "[A]\nbnd=unix:@b\nserver tcp://127.0.0.1:2\n").errors.size(), 2u);
  EXPECT_EQ(parse(kController, "[A]\nbind=x\nserver=unix:@s\n").errors.size(), 1u);
  EXPECT_EQ(parse(kController, "[A]\nbind=unix:@b\nserver=\n").errors.size(), 1u);
  EXPECT_EQ(parse(kSegment, "[Cloudbus]\nbind tcp://[::1]:1\n[A]\nserver=builtin:echo\n").errors.size(), 1u);
  EXPECT_EQ(parse(kController, "[Cloudbus\nthreads=2\n[A]\n" + kGood).errors.size(), 1u);
  for (const char* second : {"server=", "server=x", "sever=unix:@s", "backend unix:@s", "server tcp://127.0.0.1:3",
                             "server=tcp://127.0.0.1:2"}) {
    EXPECT_EQ(parse(kController, "[A]\n" + kGood + "quorum=2\n" + second + "\n").errors.size(), 1u) << second;
  }
  EXPECT_EQ(parse(kController, "[A]\n" + kGood + kMore + "fanout=x\nmode=balance\n").errors.size(), 1u);
  EXPECT_EQ(parse(kController, "[A]\n" + kGood + kMore + "mode=x\nfanout=2\nquorum=2\n").errors.size(), 1u);
}

TEST(Config, TheSameBindTwiceNamesTheFirstLine) {
  EXPECT_EQ(errors(kController, "[A]\n" + kGood + "[B]\n" + kGood),
            "f.ini:5: bind: tcp://127.0.0.1:1 is bound in line 2 already; an address is allowed once\n");
  EXPECT_TRUE(contains(errors(kSegment, "[A]\n" + kGood + "[Cloudbus]\nbind=TCP://127.0.0.1:1\n"),
                       "f.ini:5: bind: tcp://127.0.0.1:1 is bound in line 2"));
  EXPECT_EQ(errors(kController, "[A]\nbind=tcp://127.0.0.1:0\nbind=tcp://127.0.0.1:0\nserver=unix:@s\n"), "");
}

TEST(Config, AServerThatIsTheProcesssOwnBindIsALoop) {
  EXPECT_EQ(errors(kController, "[A]\nbind=unix:@a\nserver=unix:@b\n[B]\nbind=unix:@b\nserver=unix:@c\n"),
            "f.ini:3: server: unix:@b is bound by this process itself in line 5, a loop; allowed are addresses of "
            "other processes\n");
  EXPECT_TRUE(contains(errors(kSegment, "[Cloudbus]\nbind=unix:/s\n[A]\nserver=unix:///s\n"), "f.ini:4: server: unix"));
  EXPECT_TRUE(contains(errors(kController, "[A]\nbind=unix:@a\nserver=unix:@b\nserver=unix:@a\n"),
                       "f.ini:4: server: unix:@a is bound by this process itself in line 2, a loop"));
}

TEST(Config, BuiltinsAreASegmentsServersOnly) {
  EXPECT_EQ(errors(kSegment, "[A]\nbind=unix:@a\nserver=Builtin:Echo\n"), "");
  EXPECT_TRUE(
      contains(errors(kController, "[A]\nbind=unix:@a\nserver=builtin:echo\n"), "f.ini:3: server: \"builtin:echo\""));
  EXPECT_TRUE(
      contains(errors(kSegment, "[A]\nbind=builtin:echo\nserver=builtin:echo\n"), "f.ini:2: bind: \"builtin:echo\""));
}

TEST(Config, AServiceNameIsUtf8Of1To255BytesWithoutControlCharacters) {
  auto with_name = [](const string& name) { return errors(kController, "[" + name + "]\n" + kGood); };
  EXPECT_EQ(with_name("a"), "");
  EXPECT_EQ(with_name("urn:bus:Bestellungen für Öl 油 🛢"), "");
  EXPECT_EQ(with_name(string(255, 'n')), "");
  EXPECT_TRUE(contains(with_name(string(256, 'n')), "f.ini:1: a service's name has 256 bytes; 1 to 255"));
  EXPECT_TRUE(contains(with_name(""), "is empty"));
  EXPECT_TRUE(contains(with_name("  "), "is empty"));
  for (const char* bad : {"\xff", "a\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80"}) {
    EXPECT_TRUE(contains(with_name(bad), "is not UTF-8")) << bad;
  }
  for (const char* bad : {"a\x01z", "a\tz", "a\x7fz", "a\xc2\x85z"}) {
    EXPECT_TRUE(contains(with_name(bad), "control character")) << bad;
  }
  EXPECT_TRUE(contains(line_error(kController, "service=a\x01"), "service: a service's name \"a\\x01\" holds"));
}

TEST(Config, ALineThatIsTooLongIsAnErrorAndIsNeverSplit) {
  string fits = "pid_file=" + string(longest_line() - 9, 's');
  EXPECT_EQ(daemon_with(fits).pid_file, fits.substr(9));
  EXPECT_EQ(service_with(kController, "# " + string(100000, 'c')).name, "A");
  EXPECT_EQ(parse(kController, "[A]\n" + kGood + "x=" + string(1000000, 'x') + "\nlinks=0\n").errors.size(), 2u);
}

TEST(Config, CommentsSpacesAndLineEndsDoNotMatter) {
  auto result = parse(kController,
                      "\xef\xbb\xbf[A] ; the first\r\n"
                      "; comment\r\n"
                      "  # comment\n"
                      "\r\n"
                      "\tbind = tcp://127.0.0.1:1 ; here\r\n"
                      "   server : tcp://127.0.0.1:2\n"
                      "    links=2");
  ASSERT_EQ(result.errors, std::vector<string>());
  EXPECT_EQ(result.config->services.at(0)->name, "A");
  EXPECT_EQ(result.config->services.at(0)->binds.at(0).line.number, 5);
  EXPECT_EQ(result.config->services.at(0)->links, 2);
}

TEST(Config, AnIndentedLineIsALineOfItsOwn) {
  EXPECT_EQ(line_error(kController, "  and more"),
            "this line is not understood; allowed are [SECTION], KEY = VALUE, and comments behind a ; or #");
}

TEST(Config, BrokenLinesAreClearErrors) {
  EXPECT_TRUE(contains(errors(kController, "[A\n" + kGood), "f.ini:1: this section's [ has no ]; write [NAME]"));
  EXPECT_TRUE(contains(errors(kController, "[A] x\n" + kGood), "f.ini:1: text stands behind the section's ]"));
  EXPECT_TRUE(contains(errors(kController, "links=1\n[A]\n" + kGood), "f.ini:1: the key \"links\" stands before any"));
  EXPECT_TRUE(contains(line_error(kController, "links="), "links: the value is missing"));
  EXPECT_TRUE(contains(line_error(kController, "links= ; none"), "links: the value is missing"));
  EXPECT_TRUE(contains(line_error(kController, "=5"), "there is no key before the ="));
  EXPECT_TRUE(contains(line_error(kController, string("links=1\0", 8)), "this line holds a NUL byte"));
}

TEST(Config, AnErrorNeverHoldsTheBytesOfATerminalAttack) {
  string error = line_error(kController, "\x1b[2J\xff\"=1");
  EXPECT_TRUE(contains(error, "\"\\x1b[2J\\xff\\\"\"")) << error;
}

TEST(Config, AFileOfJunkIsGivenUpAfterAHundredErrors) {
  string junk;
  for (int i = 0; i < 100000; ++i) junk += "junk\n";
  auto result = parse(kController, junk);
  ASSERT_EQ(result.errors.size(), 101u);
  EXPECT_EQ(result.errors.back(), "f.ini:100: there are too many errors; the lines behind this one were not read");
}

string many_services(int count) {
  string text = "[Cloudbus]\nbind=unix:@shared\n";
  for (int i = 0; i < count; ++i) {
    string n = std::to_string(i);
    text += "[Service " + n + "]\nbind=unix:@in" + n + "\nserver=unix:@out" + n + "\nidle_timeout=5 min\n";
  }
  return text;
}

// The processor's time that it takes to read so many services.
double cost_of(int count) {
  string text = many_services(count);
  std::clock_t begin = std::clock();
  auto result = parse(kSegment, text);
  std::clock_t end = std::clock();
  EXPECT_TRUE(result.config && result.config->services.size() == static_cast<std::size_t>(count));
  return static_cast<double>(end - begin);
}

TEST(Config, TheCostOfServicesGrowsWithTheirNumberNotWithItsSquare) {
  double few = std::min({cost_of(1000), cost_of(1000), cost_of(1000)});
  double many = std::min({cost_of(10000), cost_of(10000), cost_of(10000)});
  EXPECT_LT(many, 40 * few);  // about 10 times; 100 times if it were quadratic
}

TEST(Config, ActiveChecksHaveATimeAndTwoCounts) {
  HealthConfig health = service_with(kSegment, "health = tcp 5 s").health;
  EXPECT_TRUE(health.is_active());
  EXPECT_EQ(health.every, 5s);
  EXPECT_EQ(health.fall, 3);
  EXPECT_EQ(health.rise, 2);
  health = service_with(kController, "health = TCP\t100ms  rise 1 fall 100").health;
  EXPECT_EQ(health.every, 100ms);
  EXPECT_EQ(health.fall, 100);
  EXPECT_EQ(health.rise, 1);
  EXPECT_FALSE(service_with(kSegment, "health = Passive").health.is_active());
}

TEST(Config, TheEffectiveConfigurationReadsBackAsTheSame) {
  for (Role role : {kController, kSegment}) {
    string text = "[Cloudbus]\nthreads=3\nmemory=1536M\npid_file=/run/x.pid\nlog_format=json\nlog_level=off\n";
    text += role == kSegment ? "bind=tcp://[::1]:7900\n" : "";
    text += "[A b]\n" + kGood + "bind=unix:/run/a.sock\nidle_timeout=90\nconnect_timeout=1500ms\nsocket_mode=7\n";
    text += role == kController ? "links=auto\nservice=Other\n" : "health=tcp 7 s fall 4\n";
    auto first = parse(role, text);
    ASSERT_TRUE(first.config);
    string ini = to_ini(*first.config);
    auto second = parse(role, ini);
    ASSERT_TRUE(second.config) << ini << second.errors.at(0);
    EXPECT_EQ(to_ini(*second.config), ini);
    EXPECT_TRUE(contains(ini, "memory=1536M\n")) << ini;
    EXPECT_TRUE(contains(ini, "idle_timeout=90 s\nhalf_close_timeout=5 min\nresume=30 s\n")) << ini;
    EXPECT_TRUE(contains(ini, "[A b]\nbind=tcp://127.0.0.1:1\nbind=unix:///run/a.sock\n")) << ini;
    EXPECT_TRUE(contains(ini, "socket_mode=0007\nconnect_timeout=1500 ms\n")) << ini;
  }
}

// The effective form of a service with `lines`, from its mode to its socket_mode; it reads back as itself.
string effective_mode(Role role, const string& lines) {
  auto first = parse(role, "[A]\n" + kGood + lines + "\n");
  EXPECT_EQ(first.errors, std::vector<string>());
  if (!first.config) return {};
  string ini = to_ini(*first.config);
  auto second = parse(role, ini);
  EXPECT_EQ(second.errors, std::vector<string>());
  if (second.config) {
    EXPECT_EQ(to_ini(*second.config), ini);
  }
  std::size_t begin = ini.find("mode=", ini.find("server=")), end = ini.find("socket_mode=", begin);
  return ini.substr(begin, end - begin);
}

TEST(Config, TheEffectiveConfigurationHasTheKeysThatMeanSomething) {
  EXPECT_EQ(effective_mode(kController, ""),
            "mode=half duplex\nbalance=round robin\nfanout=all\nquorum=1\nlag_limit=16M\n");
  EXPECT_EQ(effective_mode(kController, "balance=hash\nfanout=1\nlag_limit=1M"),
            "mode=half duplex\nbalance=hash\nfanout=1\nquorum=1\nlag_limit=1M\n");
  EXPECT_EQ(effective_mode(kSegment, ""), "mode=balance\nbalance=round robin\n");
  EXPECT_EQ(effective_mode(kSegment, "mode=half duplex\nbalance=hash"), "mode=half duplex\nbalance=hash\n");
  EXPECT_EQ(effective_mode(kController, "mode=balance\nlag_limit=1M"), "mode=balance\nbalance=round robin\n");
  EXPECT_EQ(effective_mode(kController, "mode=publish\nbalance=hash"),
            "mode=publish\nbalance=hash\nfanout=all\nquorum=1\nlag_limit=16M\n");
  EXPECT_EQ(effective_mode(kController, kMore),
            "mode=half duplex\nbalance=round robin\nfanout=all\nquorum=1\nlag_limit=16M\n");
  EXPECT_EQ(effective_mode(kController, kMore + "mode=full duplex\nfanout=3\nquorum=2\nlag_limit=65537\nbalance=hash"),
            "mode=full duplex\nbalance=hash\nfanout=3\nquorum=2\nlag_limit=65537\n");
  EXPECT_EQ(effective_mode(kController, kMore + "mode=balance\nbalance=least connections\nlag_limit=1M"),
            "mode=balance\nbalance=least connections\n");
  EXPECT_EQ(effective_mode(kSegment, kMore + "balance=first"), "mode=balance\nbalance=first\n");
}

TEST(Config, WithAnotherServerTheEffectiveConfigurationMeansTheSameAsTheFile) {
  for (Role role : {kController, kSegment})
    for (const char* lines : {"", "balance=hash\n", "mode=balance\nbalance=first\n"}) {
      auto one = parse(role, "[A]\n" + kGood + lines);
      ASSERT_TRUE(one.config);
      auto more = parse(role, to_ini(*one.config) + kMore);
      auto meant = parse(role, "[A]\n" + kGood + lines + kMore);
      ASSERT_TRUE(more.config && meant.config) << lines << (more.errors.empty() ? "" : more.errors[0]);
      EXPECT_EQ(to_ini(*more.config), to_ini(*meant.config));
    }
}

TEST(Config, ThreadsOfEachProcessorStayAWord) {
  Config config = daemon_with("threads = Auto");
  EXPECT_GE(config.threads, 1);
  EXPECT_TRUE(contains(to_ini(config), "\nthreads=auto\n"));
  EXPECT_TRUE(contains(to_ini(daemon_with("threads = 3")), "\nthreads=3\n"));
}

TEST(Config, AnErrorOfHealthSaysOneSentence) {
  const string allowed =
      "; allowed are passive, and tcp with a time of 100 ms to 24 h, as in tcp 5 s or tcp 5 s fall 3 rise 2";
  EXPECT_EQ(line_error(kController, "health=tcp 99 ms"), "health: \"99 ms\" is no time between checks" + allowed);
  EXPECT_EQ(line_error(kController, "health=tcp soon"), "health: \"soon\" is no time between checks" + allowed);
  EXPECT_EQ(line_error(kController, "health=pasive"),
            "health: \"pasive\" is not known here, perhaps passive is meant" + allowed);
  EXPECT_EQ(line_error(kController, "health=tcp 5 s fall 0"),
            "health: \"0\" is no number for fall; allowed are 1 to 100");
}

TEST(Config, ALineMayHave4096Bytes) {
  const std::size_t most = longest_line();
  for (std::size_t size : {most, most + 1}) {
    string line = "service=" + string(size - 8 - 5, ' ') + "Other";
    auto result = parse(kController, "[A]\n" + kGood + line + "\n");
    if (size == most) {
      ASSERT_EQ(result.errors, std::vector<string>());
      EXPECT_EQ(result.config->services.at(0)->service, "Other");
    } else {
      EXPECT_EQ(result.errors, std::vector<string>{"f.ini:4: this line has " + std::to_string(size) +
                                                   " bytes; at most " + std::to_string(most) + " are allowed"});
    }
  }
  // Behind the length of a line that inih is usually built with.
  EXPECT_EQ(daemon_with("pid_file=/" + string(300, 'a') + " ; comment").pid_file, "/" + string(300, 'a'));
}

TEST(Config, AFileThatCannotBeReadIsOneError) {
  auto missing = load_config(kController, "/nonexistent/controller.ini");
  EXPECT_EQ(missing.errors, std::vector<string>{"/nonexistent/controller.ini: cannot read: No such file or directory"});
  EXPECT_EQ(load_config(kController, "/").errors, std::vector<string>{"/: cannot read: Is a directory"});
  EXPECT_EQ(load_config(kController, "/dev/zero").errors,
            std::vector<string>{"/dev/zero: cannot read: it has more than 16M bytes"});
}

TEST(Config, AFileIsReadByItsName) {
  string path = testing::TempDir() + "config_test_" + std::to_string(getpid()) + ".ini";
  std::ofstream(path) << "[A]\n" << kGood << "links=x\n";
  auto result = load_config(kController, path);
  unlink(path.c_str());
  ASSERT_EQ(result.errors.size(), 1u);
  EXPECT_TRUE(result.errors[0].starts_with(path + ":4: links: ")) << result.errors[0];
}

TEST(Values, TimesAreWrittenInTheirLargestWholeUnit) {
  EXPECT_EQ(format_duration(0s), "0");
  EXPECT_EQ(format_duration(1ms), "1 ms");
  EXPECT_EQ(format_duration(90s), "90 s");
  EXPECT_EQ(format_duration(60s), "1 min");
  EXPECT_EQ(format_duration(24h), "24 h");
}

TEST(Values, TimesTakeTheirUnitsInAnyCaseWithAndWithoutASpace) {
  for (const char* text : {"300", "300s", "300 S", "5min", "5\tMIN", "300000 ms"}) {
    EXPECT_EQ(parse_duration(text, Zero::Refused).value, Duration(300s)) << text;
  }
}

}  // namespace
}  // namespace cloudbus
