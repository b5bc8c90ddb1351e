// SPDX-License-Identifier: Apache-2.0
#pragma once

// Starting a connection without waiting for it.

#include "cloudbus/net/address.h"

namespace cloudbus {

struct Dial {
  int fd = -1;    // non-blocking; writable once connected. -1: it failed at once, with `error`
  int error = 0;  // of errno
  bool connected = false;
};

Dial dial(const Address& address);

}  // namespace cloudbus
