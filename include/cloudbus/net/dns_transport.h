// SPDX-License-Identifier: Apache-2.0
#pragma once

// The sockets of a c-ares channel, and the servers to which they lead.
//
// c-ares 1.18 knows no zones. For a server with a zone it is given a stand-in: an address of a prefix that leads
// nowhere (RFC 6666). Its socket is connected to the server instead, at the interface that has the zone's name at that
// time.

#include <ares.h>
#include <netinet/in.h>

#include <unordered_map>
#include <vector>

#include "cloudbus/net/name_server.h"

namespace cloudbus {

class DnsTransport {
 public:
  // The channel's sockets come from here; it asks these servers, or those that it has read itself if there are none.
  // Returns a status of c-ares.
  int use(ares_channel channel, std::vector<NameServer> servers);

 private:
  static const ares_socket_functions kFunctions;
  static ares_socket_t open(int family, int type, int protocol, void* transport) noexcept;
  static int close(ares_socket_t socket, void* transport) noexcept;
  static int connect(ares_socket_t socket, const sockaddr* to, ares_socklen_t size, void* transport) noexcept;
  static ares_ssize_t receive(ares_socket_t socket, void* buffer, size_t size, int flags, sockaddr* from,
                              ares_socklen_t* from_size, void* transport) noexcept;
  static ares_ssize_t send(ares_socket_t socket, const iovec* parts, int count, void* transport) noexcept;

  std::vector<NameServer> servers_;
  std::unordered_map<int, sockaddr_in6> stand_ins_;  // by socket
};

}  // namespace cloudbus
