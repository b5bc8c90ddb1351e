// SPDX-License-Identifier: Apache-2.0
#pragma once

// Starts a connection without waiting for it.

#include "cloudbus/net/address.h"

namespace cloudbus {

struct Dial {
  int fd = -1;    // non-blocking; writable once connected. -1: the connection failed at once, with `error`
  int error = 0;  // errno
  bool connected = false;
};

Dial dial(const Address& address);

}  // namespace cloudbus
