// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/dialer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace cloudbus {
namespace {

// A peer on this host does not vanish in silence.
bool is_loopback(const Address& address) {
  if (address.family() == AF_INET6)
    return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(address.data())->sin6_addr);
  return ntohl(reinterpret_cast<const sockaddr_in*>(address.data())->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

}  // namespace

Dial dial(const Address& address) {
  int fd = ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return {-1, errno};
  if (!address.is_unix()) {
    int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!is_loopback(address)) ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  }
  bool connected = ::connect(fd, address.data(), address.size()) == 0;
  if (connected || errno == EINPROGRESS) return {fd, 0, connected};
  int error = errno;
  ::close(fd);
  return {-1, error};
}

}  // namespace cloudbus
