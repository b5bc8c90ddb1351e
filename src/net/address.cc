// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <strings.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cloudbus/core/names/urn.h"

namespace cloudbus {
namespace {

constexpr std::size_t kUnixHeader = offsetof(sockaddr_un, sun_path);
constexpr std::size_t kUnixName =
    sizeof(sockaddr_un::sun_path) - 1;  // a path needs a NUL at its end, an abstract name one in front
constexpr std::size_t kMostZone = IF_NAMESIZE - 1;
constexpr std::size_t kMostPassed = 255;                 // bytes of a FileDescriptorName
constexpr std::size_t kMostName = 253, kMostLabel = 63;  // bytes; RFC 1035, section 2.3.4

EndpointResult failed(std::string error) { return {std::nullopt, std::move(error)}; }

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (text.size() < prefix.size() || strncasecmp(text.data(), prefix.data(), prefix.size()) != 0) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool same_word(std::string_view a, std::string_view b) { return take_prefix(a, b) && a.empty(); }

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

// What is wrong with a name for DNS, or nothing.
std::string name_error(std::string_view name) {
  if (name.size() > kMostName) return "the name has more than " + std::to_string(kMostName) + " bytes";
  std::size_t label = 0;
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty()) return "the name is missing";
  for (char c : name) {
    bool fits = std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
    if (!fits && c != '.') return "a name has letters, digits, -, _ and dots";
    if (c == '.' && label == 0) return "the name has an empty part between its dots";
    label = c == '.' ? 0 : label + 1;
    if (label > kMostLabel) return "a part of the name has more than " + std::to_string(kMostLabel) + " bytes";
  }
  return label == 0 ? "the name has an empty part between its dots" : "";
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

EndpointResult parse_host(const std::string& host, int port) {
  if (host == "*") return failed("* is no address; for every address of this host write 0.0.0.0 or [::]");
  if (host.find_first_not_of("0123456789.") == std::string::npos) {
    return failed("\"" + host + "\" is not an IPv4 address; it has four numbers of 0 to 255, as in 10.0.0.2");
  }
  std::string error = name_error(host);
  if (!error.empty()) return failed("\"" + host + "\": " + error + ", as in tcp://orders.example:80");
  return {Endpoint{Endpoint::Kind::Host, {}, lower(host), port}, {}};
}

EndpointResult parse_name(Endpoint::Kind kind, std::string_view name, const char* example) {
  std::string error = name_error(name);
  if (!error.empty()) return failed(error + "; write " + example);
  return {Endpoint{kind, {}, lower(name), 0}, {}};
}

EndpointResult parse_urn_endpoint(std::string_view text) {
  auto urn = parse_urn(text);
  if (!urn || urn->text.size() > kMostName) return failed("this is no URN; write urn:bus:orders");
  return {Endpoint{Endpoint::Kind::Urn, {}, urn->text, 0}, {}};
}

// systemd.socket(5), FileDescriptorName=
EndpointResult parse_passed(std::string_view name) {
  auto fits = [](char c) { return c >= ' ' && c <= '~' && c != ':'; };
  if (name.empty() || name.size() > kMostPassed || !std::ranges::all_of(name, fits))
    return failed("this is no FileDescriptorName of a socket unit; write systemd:orders");
  return {Endpoint{Endpoint::Kind::Systemd, {}, std::string(name), 0}, {}};
}

// What is wrong with the zone of an IPv6 address, or nothing.
std::string zone_error(std::string_view zone, const Address& address) {
  if (zone.empty()) return "the zone behind the % is missing; write tcp://[fe80::1%eth0]:80";
  bool is_name = std::ranges::all_of(zone, [](char c) { return c > ' ' && c != '/' && c != '%' && c != '\x7f'; });
  if (!is_name || zone.size() > kMostZone)
    return "the zone is no name of an interface; write one of at most " + std::to_string(kMostZone) +
           " bytes, as in tcp://[fe80::1%eth0]:80";
  if (!address.is_link_local()) return "only a link-local address (fe80::) has a zone; write tcp://[::1]:80";
  return {};
}

EndpointResult parse_ipv6(std::string_view text, std::uint16_t port) {
  std::size_t percent = text.find('%');
  std::string host(text.substr(0, percent));
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  if (inet_pton(AF_INET6, host.c_str(), &in6.sin6_addr) != 1)
    return failed("\"" + host + "\" is not an IPv6 address; write tcp://[::1]:80");
  Address address = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&in6), sizeof in6);
  if (percent != std::string_view::npos) {
    std::string_view zone = text.substr(percent + 1);
    if (std::string error = zone_error(zone, address); !error.empty()) return failed(error);
    address = address.with_zone(zone);
  }
  return {Endpoint{Endpoint::Kind::Tcp, address, {}, 0}, {}};
}

EndpointResult parse_tcp(std::string_view text, int least_port) {
  bool bracketed = text.starts_with('[');
  std::size_t close = bracketed ? text.find(']') : 0;
  if (close == std::string_view::npos) return failed("the [ of an IPv6 address has no ]; write tcp://[::1]:80");
  std::size_t colon = text.find(':', close);
  bool touching = !bracketed || colon == close + 1;
  if (!bracketed && colon != text.rfind(':')) {
    return failed("an IPv6 address stands in brackets; write tcp://[::1]:80");
  }
  if (colon == std::string_view::npos || !touching) {
    return failed("the port is missing; write tcp://ADDRESS:PORT with a port of 1 to 65535");
  }
  auto port = parse_port(text.substr(colon + 1));
  if (!port)
    return failed("the port is not a number of " + std::to_string(least_port) +
                  " to 65535; write tcp://ADDRESS:PORT and nothing after it");

  std::string host(bracketed ? text.substr(1, close - 1) : text.substr(0, colon));
  if (host.empty()) return failed("the address is missing; write tcp://ADDRESS:PORT");
  if (bracketed) return parse_ipv6(host, *port);
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(*port);
  if (inet_pton(AF_INET, host.c_str(), &in.sin_addr) != 1) return parse_host(host, *port);
  return {Endpoint{Endpoint::Kind::Tcp, Address::from_sockaddr(reinterpret_cast<sockaddr*>(&in), sizeof in), {}, 0},
          {}};
}

EndpointResult parse_unix(std::string_view text) {
  bool abstract = text.starts_with('@');
  if (text.starts_with("//")) text.remove_prefix(2);
  if (!abstract && !text.starts_with('/')) {
    return failed("the path is not absolute; write unix:///run/app.sock, or unix:@name for an abstract socket");
  }
  if (abstract) text.remove_prefix(1);
  if (text.empty()) return failed("the abstract name is empty; write unix:@name");
  if (text.ends_with('/') && !abstract) return failed("the path names no file; write unix:///run/app.sock");
  if (text.find('\0') != std::string_view::npos) return failed("the name holds a NUL byte; none is allowed");
  if (text.size() > kUnixName) {
    return failed("the name has " + std::to_string(text.size()) + " bytes; a Unix socket's takes at most " +
                  std::to_string(kUnixName));
  }
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  std::copy(text.begin(), text.end(), un.sun_path + (abstract ? 1 : 0));
  auto kind = abstract ? Endpoint::Kind::Abstract : Endpoint::Kind::Unix;
  auto size = static_cast<socklen_t>(kUnixHeader + text.size() + 1);
  return {Endpoint{kind, Address::from_sockaddr(reinterpret_cast<sockaddr*>(&un), size), {}, 0}, {}};
}

std::string with_percent(const std::string& zone) { return zone.empty() ? zone : "%" + zone; }

// Every conversation needs one, and inet_ntop is slow.
std::string ipv4_text(std::uint32_t host, int port) {
  char text[sizeof "255.255.255.255:65535"];
  char* out = text;
  char* end = text + sizeof text;
  for (int shift = 24; shift >= 0; shift -= 8) {
    out = std::to_chars(out, end, host >> shift & 255).ptr;
    *out++ = shift > 0 ? '.' : ':';
  }
  return {text, std::to_chars(out, end, port).ptr};
}

}  // namespace

Address::Address() : un_{} { any_.sa_family = AF_UNSPEC; }

Address Address::from_sockaddr(const sockaddr* address, socklen_t size) {
  Address result;
  if (address == nullptr || size < sizeof(sa_family_t)) return result;
  result.size_ = std::min<socklen_t>(size, sizeof(result.un_));
  std::memcpy(&result.un_, address, result.size_);
  return result;
}

bool Address::is_abstract() const { return is_unix() && size_ > kUnixHeader && un_.sun_path[0] == '\0'; }

bool Address::is_loopback() const {
  if (family() == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&in6_.sin6_addr);
  return family() == AF_INET && ntohl(in_.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

bool Address::is_wildcard() const {
  if (family() == AF_INET6) return IN6_IS_ADDR_UNSPECIFIED(&in6_.sin6_addr);
  return family() == AF_INET && in_.sin_addr.s_addr == htonl(INADDR_ANY);
}

bool Address::is_link_local() const { return family() == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&in6_.sin6_addr); }

bool Address::is_mapped() const { return family() == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6_.sin6_addr); }

std::string Address::zone() const {
  if (family() != AF_INET6) return {};
  if (zoned_.zone[0] != '\0') return zoned_.zone;
  if (in6_.sin6_scope_id == 0) return {};
  char name[IF_NAMESIZE];
  return ::if_indextoname(in6_.sin6_scope_id, name) ? name : std::to_string(in6_.sin6_scope_id);
}

Address Address::with_zone(std::string_view zone) const {
  Address result = *this;
  std::size_t size = std::min(zone.size(), sizeof result.zoned_.zone - 1);
  std::memset(result.zoned_.zone, 0, sizeof result.zoned_.zone);
  std::memcpy(result.zoned_.zone, zone.data(), size);
  return result;
}

std::optional<Address> Address::in_its_zone() const {
  if (family() != AF_INET6 || zoned_.zone[0] == '\0') return *this;
  std::string_view zone = zoned_.zone;
  std::uint32_t index = 0;
  auto [end, error] = std::from_chars(zone.data(), zone.data() + zone.size(), index);
  bool is_number = error == std::errc() && end == zone.data() + zone.size();  // RFC 4007, section 11.2
  if (!is_number) index = ::if_nametoindex(zoned_.zone);
  if (index == 0) {
    errno = ENODEV;
    return std::nullopt;
  }
  Address result = *this;
  result.in6_.sin6_scope_id = index;
  return result;
}

int Address::port() const {
  if (family() == AF_INET) return ntohs(in_.sin_port);
  return family() == AF_INET6 ? ntohs(in6_.sin6_port) : 0;
}

Address Address::with_port(int port) const {
  Address result = *this;
  if (family() == AF_INET) result.in_.sin_port = htons(static_cast<std::uint16_t>(port));
  if (family() == AF_INET6) result.in6_.sin6_port = htons(static_cast<std::uint16_t>(port));
  return result;
}

std::string_view Address::name() const {
  if (!is_unix() || size_ <= kUnixHeader) return {};
  std::string_view all(un_.sun_path, size_ - kUnixHeader);
  return all[0] == '\0' ? all : all.substr(0, all.find('\0'));
}

std::string Address::path() const { return is_abstract() ? std::string() : std::string(name()); }

std::string Address::to_string() const {
  char text[INET6_ADDRSTRLEN] = "";
  switch (family()) {
    case AF_INET: return ipv4_text(ntohl(in_.sin_addr.s_addr), port());
    case AF_INET6:
      inet_ntop(AF_INET6, &in6_.sin6_addr, text, sizeof text);
      return "[" + std::string(text) + with_percent(zone()) + "]:" + std::to_string(port());
    case AF_UNIX: return is_abstract() ? "unix:@" + std::string(name().substr(1)) : "unix:" + path();
    default: return "none";
  }
}

bool Address::operator==(const Address& other) const {
  if (family() != other.family()) return false;
  switch (family()) {
    case AF_INET: return in_.sin_port == other.in_.sin_port && in_.sin_addr.s_addr == other.in_.sin_addr.s_addr;
    case AF_INET6:
      return in6_.sin6_port == other.in6_.sin6_port && in6_.sin6_scope_id == other.in6_.sin6_scope_id &&
             IN6_ARE_ADDR_EQUAL(&in6_.sin6_addr, &other.in6_.sin6_addr) &&
             std::strcmp(zoned_.zone, other.zoned_.zone) == 0;
    default: return name() == other.name();
  }
}

Endpoint Endpoint::of(const Address& address) {
  auto kind = !address.is_unix() ? Kind::Tcp : address.is_abstract() ? Kind::Abstract : Kind::Unix;
  return {kind, address, {}, 0};
}

std::string Endpoint::to_string() const {
  switch (kind) {
    case Kind::Tcp: return "tcp://" + address.to_string();
    case Kind::Unix: return "unix://" + address.path();
    case Kind::Abstract: return address.to_string();
    case Kind::BuiltinEcho: return "builtin:echo";
    case Kind::BuiltinDiscard: return "builtin:discard";
    case Kind::Host: return "tcp://" + name + ":" + std::to_string(port);
    case Kind::Srv: return "srv:" + name;
    case Kind::Urn: return name;
    case Kind::Naptr: return "naptr:" + name;
    case Kind::Systemd: return "systemd:" + name;
  }
  return {};
}

bool Endpoint::operator==(const Endpoint& other) const {
  return kind == other.kind && name == other.name && port == other.port &&
         (is_builtin() || is_name() || address == other.address);
}

EndpointResult parse_endpoint(std::string_view text, const EndpointRules& rules) {
  if (take_prefix(text, "tcp://")) return parse_tcp(text, rules.least_port);
  if (take_prefix(text, "unix:")) return parse_unix(text);
  if (take_prefix(text, "builtin:")) {
    if (same_word(text, "echo")) return {Endpoint{Endpoint::Kind::BuiltinEcho, {}, {}, 0}, {}};
    if (same_word(text, "discard")) return {Endpoint{Endpoint::Kind::BuiltinDiscard, {}, {}, 0}, {}};
    return failed("no such builtin; allowed are builtin:echo and builtin:discard");
  }
  if (take_prefix(text, "srv:")) return parse_name(Endpoint::Kind::Srv, text, "srv:_orders._tcp.example");
  if (take_prefix(text, "naptr:")) return parse_name(Endpoint::Kind::Naptr, text, "naptr:orders.example");
  if (take_prefix(text, "systemd:")) return parse_passed(text);
  if (text.size() >= 4 && same_word(text.substr(0, 4), "urn:")) return parse_urn_endpoint(text);
  return failed("this is not an address; allowed here are " + std::string(rules.allowed));
}

bool overlap(const Endpoint& one, const Endpoint& other) {
  if (one.kind != Endpoint::Kind::Tcp || other.kind != Endpoint::Kind::Tcp) return one == other;
  const Address &a = one.address, &b = other.address;
  return a.family() == b.family() && a.port() == b.port() && (a == b || a.is_wildcard() || b.is_wildcard());
}

}  // namespace cloudbus
