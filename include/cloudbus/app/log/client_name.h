// SPDX-License-Identifier: Apache-2.0
#pragma once

// How a client is called in the logs and in OPEN, and what of it `balance = hash` goes by.

#include <string>
#include <string_view>

#include "cloudbus/net/address.h"

namespace cloudbus {

// "127.0.0.1:53122", "[::1]:53122"; on a Unix socket, which seldom has a name, the user too: "unix:uid:1000".
std::string client_name(int fd, const Address& address);

// How a server is called in the logs: its address, or what the configuration says: "10.0.0.2:9000", "builtin:echo".
std::string server_name(const Endpoint& endpoint);

// The address without its port, or the user: "127.0.0.1", "uid:1000". An IPv4 client of an IPv6 socket is the same as
// one of an IPv4 socket.
std::string_view hash_key(std::string_view client_name);

}  // namespace cloudbus
