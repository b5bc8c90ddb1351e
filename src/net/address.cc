// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/address.h"

#include <arpa/inet.h>
#include <strings.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace cloudbus {
namespace {

constexpr std::size_t kUnixHeader = offsetof(sockaddr_un, sun_path);
constexpr std::size_t kUnixName =
    sizeof(sockaddr_un::sun_path) - 1;  // a path needs its NUL; an abstract name its first
constexpr std::string_view kAllowed =
    "allowed are tcp://IPV4:PORT, tcp://[IPV6]:PORT, unix:///PATH, unix:@NAME, builtin:echo and builtin:discard";

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

std::string not_numeric(const std::string& host) {
  if (host == "*") return "* is no address; for every address of this host write 0.0.0.0 or [::]";
  if (host.find_first_not_of("0123456789.") == std::string::npos) {
    return "\"" + host + "\" is not an IPv4 address; it has four numbers of 0 to 255, as in 10.0.0.2";
  }
  return "\"" + host + "\" is a host name; this version takes a numeric address, as in tcp://10.0.0.2:80";
}

EndpointResult parse_tcp(std::string_view text) {
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
  if (!port) return failed("the port is not a number of 0 to 65535; write tcp://ADDRESS:PORT and nothing after it");

  std::string host(bracketed ? text.substr(1, close - 1) : text.substr(0, colon));
  if (host.empty()) return failed("the address is missing; write tcp://ADDRESS:PORT");
  if (bracketed) {
    sockaddr_in6 in6{};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(*port);
    if (inet_pton(AF_INET6, host.c_str(), &in6.sin6_addr) != 1) {
      return failed("\"" + host + "\" is not an IPv6 address; write tcp://[::1]:80, without a zone");
    }
    return {Endpoint{Endpoint::Kind::Tcp, Address::from_sockaddr(reinterpret_cast<sockaddr*>(&in6), sizeof in6)}, {}};
  }
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(*port);
  if (inet_pton(AF_INET, host.c_str(), &in.sin_addr) != 1) return failed(not_numeric(host));
  return {Endpoint{Endpoint::Kind::Tcp, Address::from_sockaddr(reinterpret_cast<sockaddr*>(&in), sizeof in)}, {}};
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
  return {Endpoint{kind, Address::from_sockaddr(reinterpret_cast<sockaddr*>(&un), size)}, {}};
}

}  // namespace

Address::Address() : un_{}, size_(0) { any_.sa_family = AF_UNSPEC; }

Address Address::from_sockaddr(const sockaddr* address, socklen_t size) {
  Address result;
  if (address == nullptr || size < sizeof(sa_family_t)) return result;
  result.size_ = std::min<socklen_t>(size, sizeof(result.un_));
  std::memcpy(&result.un_, address, result.size_);
  return result;
}

bool Address::is_abstract() const { return is_unix() && size_ > kUnixHeader && un_.sun_path[0] == '\0'; }

int Address::port() const {
  if (family() == AF_INET) return ntohs(in_.sin_port);
  return family() == AF_INET6 ? ntohs(in6_.sin6_port) : 0;
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
    case AF_INET: inet_ntop(AF_INET, &in_.sin_addr, text, sizeof text); return text + (":" + std::to_string(port()));
    case AF_INET6:
      inet_ntop(AF_INET6, &in6_.sin6_addr, text, sizeof text);
      return "[" + std::string(text) + "]:" + std::to_string(port());
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
             IN6_ARE_ADDR_EQUAL(&in6_.sin6_addr, &other.in6_.sin6_addr);
    default: return name() == other.name();
  }
}

std::string Endpoint::to_string() const {
  switch (kind) {
    case Kind::Tcp: return "tcp://" + address.to_string();
    case Kind::Unix: return "unix://" + address.path();
    case Kind::Abstract: return address.to_string();
    case Kind::BuiltinEcho: return "builtin:echo";
    case Kind::BuiltinDiscard: return "builtin:discard";
  }
  return {};
}

bool Endpoint::operator==(const Endpoint& other) const {
  return kind == other.kind && (is_builtin() || address == other.address);
}

EndpointResult parse_endpoint(std::string_view text) {
  if (take_prefix(text, "tcp://")) return parse_tcp(text);
  if (take_prefix(text, "unix:")) return parse_unix(text);
  if (take_prefix(text, "builtin:")) {
    if (same_word(text, "echo")) return {Endpoint{Endpoint::Kind::BuiltinEcho, {}}, {}};
    if (same_word(text, "discard")) return {Endpoint{Endpoint::Kind::BuiltinDiscard, {}}, {}};
    return failed("no such builtin; allowed are builtin:echo and builtin:discard");
  }
  return failed("this is not an address; " + std::string(kAllowed));
}

}  // namespace cloudbus
