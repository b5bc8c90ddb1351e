// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/link.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "cloudbus/net/address.h"
#include "cloudbus/net/send_parts.h"
#include "cloudbus/net/socket_error.h"

namespace cloudbus {
namespace {

constexpr int kMostParts = 64;
constexpr int kUserTimeoutMs = 10'000;  // doc/protocol.md, section 6

}  // namespace

Link::Link(Loop& loop, int fd, LinkOwner& owner, const SmallTraffic& small)
    : loop_(loop), owner_(owner), fd_(fd), queue_limit_(small) {
  // These fail on a Unix socket, which needs none of them.
  int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUserTimeoutMs, sizeof kUserTimeoutMs);
  limit_unsent();
  readable_.start(loop.base(), fd, EV_READ | EV_PERSIST, on_readable, &owner_);
}

Link::~Link() {
  readable_.stop();
  writable_.stop();
  if (fd_ >= 0) ::close(fd_);
}

Duration Link::unacknowledged_for() const {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd_, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return Duration::zero();
  return std::chrono::milliseconds(info.tcpi_last_ack_recv);
}

bool Link::is_of_this_host() const {
  sockaddr_storage own{}, other{};
  socklen_t own_size = sizeof own, other_size = sizeof other;
  if (::getsockname(fd_, reinterpret_cast<sockaddr*>(&own), &own_size) != 0) return false;
  if (own.ss_family == AF_UNIX) return true;
  if (::getpeername(fd_, reinterpret_cast<sockaddr*>(&other), &other_size) != 0) return false;
  auto mine = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&own), own_size).with_port(0);
  auto theirs = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&other), other_size).with_port(0);
  return mine == theirs || (mine.is_loopback() && theirs.is_loopback());
}

void Link::on_readable(int, short, void* owner) noexcept { static_cast<LinkOwner*>(owner)->on_link_readable(); }

void Link::on_writable(int, short, void* link) noexcept {
  auto* self = static_cast<Link*>(link);
  self->writable_.stop();
  self->blocked_ = false;
  self->owner_.on_link_writable();
}

void Link::fail(int error) {
  status_ = Status::Broken;
  error_ = error;
  readable_.stop();
  writable_.stop();
}

Bytes Link::read(MutableBytes buffer) {
  ssize_t got = ::recv(fd_, buffer.data(), buffer.size(), 0);
  if (got > 0) return buffer.first(static_cast<std::size_t>(got));
  if (got == 0) {
    status_ = Status::Ended;
    readable_.stop();
  } else if (!would_block(errno)) {
    fail(errno);
  }
  return {};
}

void Link::limit_unsent() {
  int bytes = static_cast<int>(unsent_);
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

void Link::block() {
  if (blocked_) return;
  blocked_ = true;
  blocked_since_ = loop_.now();
  writable_.start(loop_.base(), fd_, EV_WRITE, on_writable, this);
}

void Link::write(Output& output, Duration round_trip) {
  while (!output.empty() && !blocked_ && status_ != Status::Broken) {
    iovec parts[kMostParts];
    int count = output.gather(parts, kMostParts);
    std::size_t offered = 0;
    for (int i = 0; i < count; i++) offered += parts[i].iov_len;
    ssize_t put = send_parts(fd_, parts, count);
    if (put < 0 && !would_block(errno)) return fail(errno);
    std::size_t taken = put < 0 ? 0 : static_cast<std::size_t>(put);
    output.consume(taken);
    queue_limit_.on_taken(taken);
    if (taken == offered) continue;
    block();
    queue_limit_.on_full(blocked_since_);
  }
  if (!blocked_ && is_overfull(round_trip))
    block();
  else if (!blocked_)
    queue_limit_.on_emptied();
  limit_unwritten(round_trip);
}

// The kernel takes whole buffers, and so more than its limit. On a slow link that matters: bytes that are taken in now
// would only wait, and bytes that should go first may come before there is room.
bool Link::is_overfull(Duration round_trip) const {
  if (!queue_limit_.is_slow(round_trip, loop_.now())) return false;
  int bytes = 0;
  return ::ioctl(fd_, SIOCOUTQNSD, &bytes) == 0 && static_cast<std::size_t>(bytes) >= unsent_;
}

// Half of the limit may wait in the kernel: doc/protocol.md, section 8.
void Link::limit_unwritten(Duration round_trip) {
  most_unwritten_ = queue_limit_.most(round_trip, loop_.now());
  std::size_t unsent = std::min(most_unwritten_ / 2, kMostUnsent);
  if (unsent >= unsent_ / 2 && unsent <= unsent_ + unsent_ / 2) return;
  unsent_ = unsent;
  limit_unsent();
}

int Link::release() {
  readable_.stop();
  writable_.stop();
  return std::exchange(fd_, -1);
}

int Link::take_error() { return take_socket_error(fd_); }

}  // namespace cloudbus
