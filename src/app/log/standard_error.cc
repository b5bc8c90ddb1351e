// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/log/standard_error.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace cloudbus {
namespace {

bool is_room_in(int fd) {
  pollfd writable{fd, POLLOUT, 0};
  return ::poll(&writable, 1, 0) > 0;
}

// As many whole lines as a pipe takes at once or not at all, so that those of several writers do not mix: pipe(7).
std::string_view whole_lines(std::string_view text) {
  if (text.size() <= PIPE_BUF) return text;
  std::size_t end = text.rfind('\n', PIPE_BUF - 1);
  return text.substr(0, end == std::string_view::npos ? PIPE_BUF : end + 1);
}

}  // namespace

StandardError::StandardError() {
  struct stat info {};
  if (::fstat(STDERR_FILENO, &info) != 0) return;
  if (S_ISSOCK(info.st_mode)) kind_ = Kind::Socket;
  if (S_ISFIFO(info.st_mode)) {
    int own = ::open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    kind_ = own >= 0 ? Kind::Pipe : Kind::Polled;
    if (own >= 0) fd_ = own;
  }
  if (::isatty(STDERR_FILENO)) kind_ = Kind::Polled;
}

StandardError::~StandardError() {
  if (fd_ != STDERR_FILENO) ::close(fd_);
}

bool StandardError::write(LogBuffer& lines) {
  while (!lines.is_empty())
    if (!write_some(lines)) return false;
  return true;
}

bool StandardError::write_some(LogBuffer& lines) {
  if (kind_ == Kind::Polled && !is_room_in(fd_)) return false;
  bool is_cut = kind_ == Kind::Pipe || kind_ == Kind::Polled;  // where there is room for anything, so much fits
  std::string_view rest = is_cut ? whole_lines(lines.rest()) : lines.rest();
  ssize_t put = kind_ == Kind::Socket ? ::send(fd_, rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                                      : ::write(fd_, rest.data(), rest.size());
  if (put > 0) return lines.on_written(static_cast<std::size_t>(put)), true;
  if (put < 0 && errno == EINTR) return true;
  bool may_be_room_later = put == 0 || errno == EAGAIN || errno == ENOSPC || errno == EDQUOT || errno == ENOBUFS;
  if (!may_be_room_later) lines.drop_all();  // nobody is left to be told
  return !may_be_room_later;
}

}  // namespace cloudbus
