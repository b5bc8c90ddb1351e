// SPDX-License-Identifier: Apache-2.0
#pragma once

// The options of all TCP sockets, listening and connecting.

#include "cloudbus/core/base/time.h"
#include "cloudbus/net/address.h"

namespace cloudbus {

// For a new socket that will listen at the address or connect to it; accepted sockets inherit the options. Does nothing
// to a Unix socket.
void prepare_socket(int fd, const Address& address);

// tcp(7): after so long without a byte the peer is probed, again after each interval, and is gone when `count` probes
// have had no answer. Whole seconds.
struct Keepalive {
  Duration after = std::chrono::seconds(60);  // 0 is none
  Duration interval = std::chrono::seconds(10);
  int count = 6;

  // Until a peer that does not answer is known to be gone.
  Duration patience() const { return after + count * interval; }
  bool operator==(const Keepalive&) const = default;
};

// For a socket that is connected or connecting to another host: a peer on this one does not vanish in silence. Fails on
// a Unix socket, which needs it as little.
void set_keepalive(int fd, const Keepalive& keepalive);

}  // namespace cloudbus
