// SPDX-License-Identifier: Apache-2.0
#pragma once

// The two ends of a TCP connection, and the process at the other end of a Unix one: what a segment knows its own
// connections by when they come back to it as clients.

#include <optional>

#include "cloudbus/core/wire/hello.h"
#include "cloudbus/net/address.h"

namespace cloudbus {

// None for a socket that is not TCP. An IPv4 address within IPv6 counts as IPv4.
ConnectionEnds ends_of_accepted(int fd);
// Also while it is connecting.
ConnectionEnds ends_of_dialled(int fd, const Address& server);

// Of a Unix socket's peer: unix(7), SO_PEERCRED. None where the process cannot be seen from here.
std::optional<ProcessId> peer_process(int fd);
ProcessId own_process();

}  // namespace cloudbus
