// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/connection.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "cloudbus/net/send_parts.h"
#include "cloudbus/net/socket_error.h"

namespace cloudbus {

void Connection::start(Loop& loop, int fd, bool is_unix, ReadinessOwner& owner) {
  fd_ = fd;
  is_unix_ = is_unix;
  if (!loop.readiness().add(fd, owner))
    ::shutdown(fd, SHUT_RDWR);  // without events only a read would tell: the next one finds the end
}

IoResult Connection::read(iovec* parts, int count) {
  ssize_t got = count == 1 ? ::recv(fd_, parts->iov_base, parts->iov_len, 0) : ::readv(fd_, parts, count);
  if (got > 0) return {Io::Done, static_cast<std::size_t>(got)};
  if (got == 0) return {Io::End};
  return {would_block(errno) ? Io::Again : Io::Broken};
}

IoResult Connection::write(iovec* parts, int count, bool more) {
  ssize_t put = send_parts(fd_, parts, count, more ? MSG_MORE : 0);
  if (put >= 0) return {Io::Done, static_cast<std::size_t>(put)};
  if (would_block(errno)) return {Io::Again};
  if (is_unix_ && errno == EPIPE) return {Io::NotReading};
  error_ = static_cast<short>(errno);
  return {Io::Broken};
}

void Connection::finish() { ::shutdown(fd_, SHUT_WR); }

void Connection::stop_reading() {
  if (is_unix_) ::shutdown(fd_, SHUT_RD);
}

int Connection::take_error() {
  int error = take_socket_error(fd_);
  return error != 0 ? error : std::exchange(error_, 0);
}

bool Connection::is_reset_behind_bytes(int error) const { return cloudbus::is_reset_behind_bytes(fd_, error); }

std::size_t Connection::unacknowledged() const {
  int bytes = 0;
  return ioctl(fd_, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

void Connection::close() {
  int fd = std::exchange(fd_, -1);
  if (fd >= 0) ::close(fd);
}

void Connection::reset() {
  linger abort{1, 0};
  if (fd_ >= 0 && !is_unix_) setsockopt(fd_, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  close();
}

}  // namespace cloudbus
