// SPDX-License-Identifier: Apache-2.0
#pragma once

// An Address is what a socket has; an Endpoint is what a configuration names. Both are plain values. Nothing here opens
// a socket or queries DNS.

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <optional>
#include <string>
#include <string_view>

namespace cloudbus {

// IPv4, IPv6, a Unix path or a Unix abstract name. By default none (AF_UNSPEC).
class Address {
 public:
  Address();
  static Address from_sockaddr(const sockaddr* address, socklen_t size);

  const sockaddr* data() const { return &any_; }
  socklen_t size() const { return size_; }
  int family() const { return any_.sa_family; }
  bool is_unix() const { return family() == AF_UNIX; }
  bool is_abstract() const;
  bool is_loopback() const;           // 127.0.0.0/8 or ::1
  int port() const;                   // 0 for Unix sockets
  Address with_port(int port) const;  // of an IPv4 or IPv6 address
  std::string path() const;           // of a Unix path socket; empty for all others

  // "127.0.0.1:80", "[::1]:80", "unix:/run/app.sock", "unix:@name"; an unnamed Unix peer is "unix:".
  std::string to_string() const;
  bool operator==(const Address& other) const;

 private:
  std::string_view name() const;  // a Unix address without its family and without the NUL that ends a path

  union {
    sockaddr any_;
    sockaddr_in in_;
    sockaddr_in6 in6_;
    sockaddr_un un_;
  };
  socklen_t size_ = 0;
};

struct Endpoint {
  enum class Kind {
    Tcp,
    Unix,
    Abstract,
    BuiltinEcho,
    BuiltinDiscard,
    Host,   // `name` and `port`
    Srv,    // the SRV records of `name`
    Urn,    // the NAPTR rules of the URN `name`
    Naptr,  // the NAPTR rules at `name`
  };
  Kind kind = Kind::Tcp;
  Address address;   // unused for builtins and names
  std::string name;  // lower case
  int port = 0;

  static Endpoint of(const Address& address);

  // Its addresses come from DNS.
  bool is_name() const { return kind == Kind::Host || kind == Kind::Srv || kind == Kind::Urn || kind == Kind::Naptr; }
  bool is_builtin() const { return kind == Kind::BuiltinEcho || kind == Kind::BuiltinDiscard; }
  bool is_port_zero() const { return (kind == Kind::Tcp && address.port() == 0) || (kind == Kind::Host && port == 0); }
  // The canonical URL: "tcp://127.0.0.1:80", "tcp://orders.example:80", "unix:///run/app.sock", "unix:@name",
  // "builtin:echo", "srv:_orders._tcp.example", "urn:bus:orders", "naptr:orders.example".
  std::string to_string() const;
  bool operator==(const Endpoint& other) const;
};

// Either an endpoint or an error, which reads "what is wrong; what is allowed".
struct EndpointResult {
  std::optional<Endpoint> endpoint;
  std::string error;
};
EndpointResult parse_endpoint(std::string_view text);

}  // namespace cloudbus
