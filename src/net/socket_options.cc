// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/socket_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace cloudbus {
namespace {

// Over loopback there is no congestion to control, and an algorithm that paces itself with timers (BBR) costs a quarter
// of the CPU time there. Reno has no timers, and every kernel has it: tcp(7).
constexpr char kPlainControl[] = "reno";

}  // namespace

void prepare_socket(int fd, const Address& address) {
  if (address.is_unix()) return;
  int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // An urgent byte stays among the others: tcp(7). The mark itself is not carried.
  ::setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
  if (address.is_loopback()) ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kPlainControl, sizeof kPlainControl - 1);
}

void set_keepalive(int fd, const Keepalive& keepalive) {
  if (keepalive.after == Duration::zero()) return;
  auto seconds = [](Duration time) { return static_cast<int>(time / std::chrono::seconds(1)); };
  int on = 1, after = seconds(keepalive.after), interval = seconds(keepalive.interval);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &after, sizeof after);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &keepalive.count, sizeof keepalive.count);
}

}  // namespace cloudbus
