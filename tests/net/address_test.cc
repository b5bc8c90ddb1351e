// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/address.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

namespace cloudbus {
namespace {

std::string canonical(std::string_view text) {
  auto result = parse_endpoint(text);
  return result.endpoint ? result.endpoint->to_string() : "error: " + result.error;
}

std::string error_of(std::string_view text) { return parse_endpoint(text).error; }

TEST(Endpoint, EveryKindHasACanonicalForm) {
  EXPECT_EQ(canonical("tcp://127.0.0.1:80"), "tcp://127.0.0.1:80");
  EXPECT_EQ(canonical("TCP://0.0.0.0:0"), "tcp://0.0.0.0:0");
  EXPECT_EQ(canonical("tcp://[::1]:65535"), "tcp://[::1]:65535");
  EXPECT_EQ(canonical("tcp://[0:0::1]:080"), "tcp://[::1]:80");
  EXPECT_EQ(canonical("unix:///run/app.sock"), "unix:///run/app.sock");
  EXPECT_EQ(canonical("unix:/run/app.sock"), "unix:///run/app.sock");
  EXPECT_EQ(canonical("Unix:@Name/1"), "unix:@Name/1");
  EXPECT_EQ(canonical("builtin:echo"), "builtin:echo");
  EXPECT_EQ(canonical("BUILTIN:Discard"), "builtin:discard");
  EXPECT_EQ(canonical("Systemd:Orders of today.socket"), "systemd:Orders of today.socket");
}

TEST(Endpoint, TheAddressIsReadyForTheKernel) {
  auto tcp = parse_endpoint("tcp://127.0.0.1:80").endpoint;
  ASSERT_TRUE(tcp);
  EXPECT_EQ(tcp->address.family(), AF_INET);
  EXPECT_EQ(tcp->address.size(), sizeof(sockaddr_in));
  EXPECT_EQ(tcp->address.port(), 80);
  auto path = parse_endpoint("unix:///run/app.sock").endpoint;
  ASSERT_TRUE(path);
  EXPECT_EQ(path->address.path(), "/run/app.sock");
  EXPECT_STREQ(reinterpret_cast<const sockaddr_un*>(path->address.data())->sun_path, "/run/app.sock");
  auto abstract = parse_endpoint("unix:@app").endpoint;
  ASSERT_TRUE(abstract);
  EXPECT_TRUE(abstract->address.is_abstract());
  EXPECT_EQ(abstract->address.size(), offsetof(sockaddr_un, sun_path) + 4);
  EXPECT_EQ(abstract->address.path(), "");
}

TEST(Endpoint, NamesAreKeptInLowerCase) {
  auto host = parse_endpoint("tcp://Orders.Internal:80").endpoint;
  ASSERT_TRUE(host);
  EXPECT_TRUE(host->is_name());
  EXPECT_EQ(host->name, "orders.internal");
  EXPECT_EQ(host->port, 80);
  for (const char* text : {"tcp://orders.internal:80", "srv:_orders._tcp.example", "urn:bus:orders", "naptr:a.example"})
    EXPECT_EQ(parse_endpoint(text).endpoint.value_or(Endpoint()).to_string(), text);
  EXPECT_EQ(parse_endpoint("SRV:_A._TCP.example").endpoint.value_or(Endpoint()).to_string(), "srv:_a._tcp.example");
}

TEST(Endpoint, WhatIsNoNameIsRefusedWithTheReason) {
  EXPECT_NE(error_of("tcp://a..example:80").find("empty part"), std::string::npos);
  EXPECT_NE(error_of("tcp://a b:80").find("letters"), std::string::npos);
  EXPECT_NE(error_of("srv:" + std::string(64, 'a')).find("63"), std::string::npos);
  EXPECT_NE(error_of("naptr:" + std::string(254, 'a')).find("253"), std::string::npos);
  EXPECT_NE(error_of("urn:bus").find("urn:bus:orders"), std::string::npos);
  EXPECT_NE(error_of("tcp://*:80").find("0.0.0.0"), std::string::npos);
  EXPECT_NE(error_of("tcp://10.0.0.256:80").find("not an IPv4"), std::string::npos);
}

TEST(Endpoint, ANameThatSystemdCannotGiveIsRefused) {
  for (const std::string& name : {std::string(), std::string("a:b"), std::string("\x01"), std::string(256, 'a')})
    EXPECT_NE(error_of("systemd:" + name).find("FileDescriptorName"), std::string::npos) << name;
  EXPECT_EQ(error_of("systemd:" + std::string(255, 'a')), "");
}

TEST(Endpoint, PortsOutOfRangeAndOtherMistakesAreErrors) {
  for (const char* text : {"tcp://127.0.0.1:65536",
                           "tcp://127.0.0.1:-1",
                           "tcp://127.0.0.1:+1",
                           "tcp://127.0.0.1:",
                           "tcp://127.0.0.1",
                           "tcp://127.0.0.1:80/",
                           "tcp://:80",
                           "tcp://",
                           "tcp:",
                           "tcp://::1:80",
                           "tcp://[::1",
                           "tcp://[::1]",
                           "tcp://[::1]80",
                           "tcp://[::1]x:80",
                           "tcp://[]:80",
                           "tcp://[::g]:80",
                           "tcp://[fe80::1%]:80",
                           "tcp://[fe80::1%a/b]:80",
                           "tcp://[fe80::1%sixteen-letters-]:80",
                           "tcp://[::1%lo]:80",
                           "tcp://[%lo]:80",
                           "tcp://127.0.0.1:80 x",
                           "127.0.0.1:80",
                           "udp://127.0.0.1:80",
                           "",
                           "unix:",
                           "unix://",
                           "unix://run/app.sock",
                           "unix:app.sock",
                           "unix:///",
                           "unix:///run/",
                           "unix:@",
                           "builtin:",
                           "builtin:echos"}) {
    auto result = parse_endpoint(text);
    EXPECT_FALSE(result.endpoint) << text;
    EXPECT_NE(result.error.find(';'), std::string::npos) << text << ": " << result.error;
  }
}

TEST(Endpoint, AUnixNameOf107BytesFitsAndOneMoreDoesNot) {
  EXPECT_TRUE(parse_endpoint("unix:///" + std::string(106, 'a')).endpoint);
  EXPECT_FALSE(parse_endpoint("unix:///" + std::string(107, 'a')).endpoint);
  EXPECT_TRUE(parse_endpoint("unix:@" + std::string(107, 'a')).endpoint);
  EXPECT_FALSE(parse_endpoint("unix:@" + std::string(108, 'a')).endpoint);
  EXPECT_EQ(canonical("unix:@" + std::string(107, 'a')), "unix:@" + std::string(107, 'a'));
  EXPECT_FALSE(parse_endpoint(std::string_view("unix:///a\0b", 11)).endpoint);
}

TEST(Endpoint, EqualMeansTheSameSocket) {
  auto endpoint = [](std::string_view text) { return *parse_endpoint(text).endpoint; };
  EXPECT_EQ(endpoint("tcp://[0::1]:80"), endpoint("tcp://[::1]:80"));
  EXPECT_EQ(endpoint("unix:/a"), endpoint("unix:///a"));
  EXPECT_EQ(endpoint("builtin:echo"), endpoint("builtin:echo"));
  EXPECT_FALSE(endpoint("tcp://127.0.0.1:80") == endpoint("tcp://127.0.0.1:81"));
  EXPECT_FALSE(endpoint("tcp://127.0.0.1:80") == endpoint("tcp://127.0.0.2:80"));
  EXPECT_FALSE(endpoint("tcp://0.0.0.0:80") == endpoint("tcp://[::]:80"));
  EXPECT_FALSE(endpoint("unix:@/a") == endpoint("unix:/a"));
  EXPECT_FALSE(endpoint("builtin:echo") == endpoint("builtin:discard"));
}

TEST(Endpoint, AZoneIsKeptAsItWasWritten) {
  EXPECT_EQ(canonical("tcp://[FE80::1%Eth0.5:1]:80"), "tcp://[fe80::1%Eth0.5:1]:80");
  auto endpoint = [](std::string_view text) { return *parse_endpoint(text).endpoint; };
  EXPECT_EQ(endpoint("tcp://[fe80::1%eth0]:80"), endpoint("tcp://[fe80:0::1%eth0]:80"));
  EXPECT_FALSE(endpoint("tcp://[fe80::1%eth0]:80") == endpoint("tcp://[fe80::1%eth1]:80"));
  EXPECT_EQ(endpoint("tcp://[fe80::1%eth0]:80").address.with_port(81).to_string(), "[fe80::1%eth0]:81");
}

std::uint32_t scope_of(const Address& address) {
  return reinterpret_cast<const sockaddr_in6*>(address.data())->sin6_scope_id;
}

TEST(Address, AZoneBecomesANumberWhenItIsUsed) {
  Address loopback = parse_endpoint("tcp://[fe80::1%lo]:80").endpoint->address;
  EXPECT_EQ(scope_of(loopback), 0u);
  ASSERT_TRUE(loopback.in_its_zone());
  EXPECT_EQ(scope_of(*loopback.in_its_zone()), if_nametoindex("lo"));
  EXPECT_EQ(scope_of(*parse_endpoint("tcp://[fe80::1%77]:80").endpoint->address.in_its_zone()), 77u);
  errno = 0;
  EXPECT_FALSE(parse_endpoint("tcp://[fe80::1%nowhere0]:80").endpoint->address.in_its_zone());
  EXPECT_EQ(errno, ENODEV);
  Address plain = parse_endpoint("tcp://127.0.0.1:80").endpoint->address;
  EXPECT_EQ(plain.in_its_zone(), plain);
}

TEST(Address, TheZoneOfAPeerIsShownByItsName) {
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_addr.s6_addr[0] = 0xfe;
  in6.sin6_addr.s6_addr[1] = 0x80;
  in6.sin6_port = htons(9);
  in6.sin6_scope_id = if_nametoindex("lo");
  auto* data = reinterpret_cast<sockaddr*>(&in6);
  EXPECT_EQ(Address::from_sockaddr(data, sizeof in6).to_string(), "[fe80::%lo]:9");
  in6.sin6_scope_id = 999999;
  EXPECT_EQ(Address::from_sockaddr(data, sizeof in6).to_string(), "[fe80::%999999]:9");
}

TEST(Endpoint, OneThatTakesEveryAddressOverlapsWithEveryOther) {
  auto both = [](std::string_view one, std::string_view other) {
    return overlap(*parse_endpoint(one).endpoint, *parse_endpoint(other).endpoint);
  };
  EXPECT_TRUE(both("tcp://0.0.0.0:80", "tcp://127.0.0.1:80"));
  EXPECT_TRUE(both("tcp://[fe80::1%eth0]:80", "tcp://[::]:80"));
  EXPECT_FALSE(both("tcp://0.0.0.0:80", "tcp://[::1]:80"));
  EXPECT_FALSE(both("tcp://0.0.0.0:80", "tcp://127.0.0.1:81"));
  EXPECT_FALSE(both("tcp://127.0.0.1:80", "tcp://127.0.0.2:80"));
  EXPECT_TRUE(both("unix:@a", "unix:@a"));
}

TEST(Address, WhatTheKernelGivesIsShown) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(53122);
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(Address::from_sockaddr(reinterpret_cast<sockaddr*>(&in), sizeof in).to_string(), "127.0.0.1:53122");

  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  auto unnamed = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&un), sizeof(sa_family_t));
  EXPECT_EQ(unnamed.to_string(), "unix:");
  EXPECT_FALSE(unnamed.is_abstract());
  std::strcpy(un.sun_path, "/run/a");
  EXPECT_EQ(Address::from_sockaddr(reinterpret_cast<sockaddr*>(&un), sizeof un).to_string(), "unix:/run/a");
  std::memset(un.sun_path, 'x', sizeof un.sun_path);  // the kernel may leave out the NUL
  EXPECT_EQ(Address::from_sockaddr(reinterpret_cast<sockaddr*>(&un), sizeof un).path(), std::string(108, 'x'));
}

TEST(Address, APathIsTheSameWithAndWithoutItsNul) {
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  std::strcpy(un.sun_path, "/a");
  auto* data = reinterpret_cast<sockaddr*>(&un);
  socklen_t header = offsetof(sockaddr_un, sun_path);
  EXPECT_EQ(Address::from_sockaddr(data, header + 2), Address::from_sockaddr(data, header + 3));
  EXPECT_EQ(Address::from_sockaddr(data, header + 2), Address::from_sockaddr(data, sizeof un));
}

TEST(Address, NoneIsNone) {
  EXPECT_EQ(Address(), Address());
  EXPECT_EQ(Address::from_sockaddr(nullptr, 0).family(), AF_UNSPEC);
  EXPECT_EQ(Address().to_string(), "none");
}

}  // namespace
}  // namespace cloudbus
