// SPDX-License-Identifier: Apache-2.0
#pragma once

// What all TCP sockets have in common, those that listen and those that connect.

#include "cloudbus/net/address.h"

namespace cloudbus {

// For a new socket that is to listen at the address or to connect to it; those that are accepted inherit it. Does
// nothing to a Unix socket.
void prepare_socket(int fd, const Address& address);

}  // namespace cloudbus
