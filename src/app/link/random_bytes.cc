// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/link/random_bytes.h"

#include <sys/random.h>

#include <cstdlib>

namespace cloudbus {

// To 256 bytes are never cut short.
void fill_random(MutableBytes out) {
  if (::getrandom(out.data(), out.size(), 0) != static_cast<ssize_t>(out.size())) std::abort();
}

}  // namespace cloudbus
