// SPDX-License-Identifier: Apache-2.0
#pragma once

// What an errno of a socket call means.

#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

namespace cloudbus {

// The pending error of a socket, or 0.
inline int take_socket_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 ? errno : error;
}

// The peer accepted the connection, sent bytes, and reset it: the bytes can still be read.
inline bool is_reset_behind_bytes(int fd, int error) {
  int bytes = 0;
  return (error == ECONNRESET || error == EPIPE) && ::ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

// Nothing went wrong: call again later.
inline bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

// This process or host is out of descriptors. That says nothing about the peer.
inline bool is_out_of_descriptors(int error) { return error == EMFILE || error == ENFILE; }

// No local port is free on the way to a server: connect(2). That says nothing about the peer.
inline bool is_out_of_ports(int error) { return error == EADDRNOTAVAIL; }

// Nobody listens at the address, or not yet.
inline bool is_refused(int error) { return error == ECONNREFUSED || error == ENOENT; }

}  // namespace cloudbus
