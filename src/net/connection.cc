// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/connection.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "cloudbus/net/connection_ends.h"
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
  if (is_unix_) return read_message(parts, count);
  ssize_t got = count == 1 ? ::recv(fd_, parts->iov_base, parts->iov_len, 0) : ::readv(fd_, parts, count);
  return read_result(got);
}

// A Unix peer may send descriptors with its bytes. Without a place for them the kernel closes them, and says so:
// unix(7).
IoResult Connection::read_message(iovec* parts, int count) {
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = static_cast<std::size_t>(count);
  ssize_t got = ::recvmsg(fd_, &message, 0);
  IoResult result = read_result(got);
  result.had_descriptors = got > 0 && (message.msg_flags & MSG_CTRUNC) != 0;
  return result;
}

IoResult Connection::read_result(ssize_t got) {
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

int Connection::local_port() const {
  sockaddr_in6 own{};  // the port stands where that of IPv4 does
  socklen_t size = sizeof own;
  if (is_unix_ || fd_ < 0 || ::getsockname(fd_, reinterpret_cast<sockaddr*>(&own), &size) != 0) return 0;
  return ntohs(own.sin6_port);
}

void Connection::identify(OpenRequest& request) const {
  if (is_unix_)
    request.client_process = peer_process(fd_);
  else
    request.client_ends = ends_of_accepted(fd_);
}

std::size_t Connection::unacknowledged() const {
  int bytes = 0;
  return ioctl(fd_, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

void Connection::close() {
  int fd = std::exchange(fd_, -1);
  if (fd >= 0) ::close(fd);
}

bool Connection::is_unanswered_for(Duration patience) const {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (unacknowledged() == 0 || ::getsockopt(fd_, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  return std::chrono::milliseconds(info.tcpi_last_ack_recv) >= patience;
}

void Connection::abort_on_close() {
  linger abort{1, 0};
  if (fd_ >= 0 && !is_unix_) setsockopt(fd_, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
}

}  // namespace cloudbus
