// SPDX-License-Identifier: Apache-2.0
#pragma once

// The options of all TCP sockets, listening and connecting.

#include "cloudbus/net/address.h"

namespace cloudbus {

// For a new socket that will listen at the address or connect to it; accepted sockets inherit the options. Does nothing
// to a Unix socket.
void prepare_socket(int fd, const Address& address);

}  // namespace cloudbus
