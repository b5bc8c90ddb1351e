// SPDX-License-Identifier: Apache-2.0
#pragma once

// A DNS server: a numeric address with a port, and the zone of a link-local one (RFC 4007, section 11).

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloudbus/net/address.h"

namespace cloudbus {

struct NameServer {
  Address address;
  std::string zone{};  // the name of an interface, or its number; empty unless the address is link-local

  // A link-local address without a zone, which leads nowhere.
  bool lacks_zone() const;
  // "10.0.0.2:53", "[fe80::53%eth0]:53"
  std::string to_string() const;
  // With the interface that has the zone's name now; nothing if there is none.
  std::optional<sockaddr_in6> scoped() const;
};

// Without a port it is 53: "10.0.0.2", "10.0.0.2:5353", "[::1]", "[fe80::53%eth0]:53". Nothing if it is none.
std::optional<NameServer> parse_name_server(std::string_view text);

// With commas or blanks between them; what is none is left out.
std::vector<NameServer> parse_name_servers(std::string_view list);

// Those of a text in the form of resolv.conf(5), in their order.
std::vector<NameServer> name_servers_of(std::string_view resolv_conf);

}  // namespace cloudbus
