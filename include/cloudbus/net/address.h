// SPDX-License-Identifier: Apache-2.0
#pragma once

// An Address is what a socket has; an Endpoint is what a configuration names. Both are plain values. Nothing here opens
// a socket or queries DNS.

#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <optional>
#include <string>
#include <string_view>

namespace cloudbus {

// IPv4, IPv6, a Unix path or a Unix abstract name. By default none (AF_UNSPEC). A link-local IPv6 address may have a
// zone, the name of the interface behind which it is.
class Address {
 public:
  Address();
  static Address from_sockaddr(const sockaddr* address, socklen_t size);

  // What the kernel takes. An address with a zone has to be in_its_zone() first.
  const sockaddr* data() const { return &any_; }
  socklen_t size() const { return size_; }
  int family() const { return any_.sa_family; }
  bool is_unix() const { return family() == AF_UNIX; }
  bool is_abstract() const;
  bool is_loopback() const;           // 127.0.0.0/8 or ::1
  int port() const;                   // 0 for Unix sockets
  Address with_port(int port) const;  // of an IPv4 or IPv6 address
  bool is_wildcard() const;           // 0.0.0.0 or [::]
  bool is_link_local() const;         // fe80::/10
  bool is_mapped() const;             // an IPv4 address as ::ffff:10.0.0.1

  // "eth0" in [fe80::1%eth0]:80: as it was configured, or the interface's name now. Empty without a zone.
  std::string zone() const;
  Address with_zone(std::string_view zone) const;
  // With the number that the interface has at this moment. An interface that is missing has none, and the kernel
  // refuses such an address; `errno` is ENODEV then. Other addresses stay as they are.
  std::optional<Address> in_its_zone() const;
  std::string path() const;  // of a Unix path socket; empty for all others

  // "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", "unix:/run/app.sock", "unix:@name"; an unnamed Unix peer is
  // "unix:".
  std::string to_string() const;
  bool operator==(const Address& other) const;

 private:
  std::string_view name() const;  // a Unix address without its family and without the NUL that ends a path

  // Interfaces come and go, and their numbers with them; what was configured is the name.
  struct Zoned {
    sockaddr_in6 in6;
    char zone[IF_NAMESIZE];  // empty: the scope id counts
  };

  union {
    sockaddr any_;
    sockaddr_in in_;
    sockaddr_in6 in6_;
    Zoned zoned_;
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
    Host,     // `name` and `port`
    Srv,      // the SRV records of `name`
    Urn,      // the NAPTR rules of the URN `name`
    Naptr,    // the NAPTR rules at `name`
    Systemd,  // the sockets that systemd passes under `name`
  };
  Kind kind = Kind::Tcp;
  Address address;   // unused for builtins and names
  std::string name;  // of DNS: lower case
  int port = 0;

  static Endpoint of(const Address& address);

  // Its addresses come from DNS.
  bool is_name() const { return kind == Kind::Host || kind == Kind::Srv || kind == Kind::Urn || kind == Kind::Naptr; }
  bool is_builtin() const { return kind == Kind::BuiltinEcho || kind == Kind::BuiltinDiscard; }
  bool is_port_zero() const { return (kind == Kind::Tcp && address.port() == 0) || (kind == Kind::Host && port == 0); }
  // The canonical URL: "tcp://127.0.0.1:80", "tcp://orders.example:80", "unix:///run/app.sock", "unix:@name",
  // "builtin:echo", "srv:_orders._tcp.example", "urn:bus:orders", "naptr:orders.example", "systemd:orders".
  std::string to_string() const;
  bool operator==(const Endpoint& other) const;
};

// Either an endpoint or an error, which reads "what is wrong; what is allowed".
struct EndpointResult {
  std::optional<Endpoint> endpoint;
  std::string error;
};
// What is allowed where the text stands.
struct EndpointRules {
  std::string_view allowed =
      "tcp://HOST:PORT, tcp://IPV4:PORT, tcp://[IPV6]:PORT, unix:///PATH, unix:@NAME, srv:NAME, urn:bus:NAME, "
      "naptr:NAME, builtin:echo and builtin:discard";
  int least_port = 0;
};
// The rules shape the errors only: every kind is read.
EndpointResult parse_endpoint(std::string_view text, const EndpointRules& rules = {});

// Both cannot be bound at once: the same address, or the same port at every address of the host.
bool overlap(const Endpoint& one, const Endpoint& other);

}  // namespace cloudbus
