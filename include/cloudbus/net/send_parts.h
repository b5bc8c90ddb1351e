// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>

namespace cloudbus {

// send(2) or sendmsg(2), whichever is cheaper, without SIGPIPE. Returns the bytes taken, or -1 with errno.
inline ssize_t send_parts(int fd, iovec* parts, int count, int flags = 0) {
  if (count == 1) return ::send(fd, parts->iov_base, parts->iov_len, MSG_NOSIGNAL | flags);
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = static_cast<std::size_t>(count);
  return ::sendmsg(fd, &message, MSG_NOSIGNAL | flags);
}

}  // namespace cloudbus
