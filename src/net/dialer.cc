// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/dialer.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "cloudbus/net/socket_options.h"

namespace cloudbus {

Dial dial(const Address& configured) {
  std::optional<Address> known = configured.in_its_zone();
  if (!known) return {-1, errno};
  const Address& address = *known;
  int fd = ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return {-1, errno};
  prepare_socket(fd, address);
  bool connected = ::connect(fd, address.data(), address.size()) == 0;
  if (connected || errno == EINPROGRESS) return {fd, 0, connected};
  int error = errno;
  ::close(fd);
  return {-1, error};
}

}  // namespace cloudbus
