// SPDX-License-Identifier: Apache-2.0
#pragma once

// What an errno of a socket call means.

#include <cerrno>

namespace cloudbus {

// Nothing went wrong: the call is to be made again later.
inline bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

// This process or host is out of descriptors; it does not mean that the peer is out of reach.
inline bool is_out_of_descriptors(int error) { return error == EMFILE || error == ENFILE; }

}  // namespace cloudbus
