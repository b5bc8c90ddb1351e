// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/notifier.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>
#include <utility>

#include "cloudbus/app/log/log.h"

namespace cloudbus {
namespace {

constexpr Duration kAgain = std::chrono::milliseconds(100);
constexpr std::size_t kMostWaiting = 16;  // the latest ones count

// Returns an errno, or 0.
int send_to(std::string_view path, std::string_view state) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return ENAMETOOLONG;
  std::ranges::copy(path, address.sun_path);
  if (path.starts_with('@')) address.sun_path[0] = '\0';
  auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  auto* to = reinterpret_cast<const sockaddr*>(&address);
  int error = ::sendto(fd, state.data(), state.size(), MSG_NOSIGNAL, to, size) < 0 ? errno : 0;
  ::close(fd);
  return error;
}

}  // namespace

// systemd 253 and newer wait for READY=1 after this.
void Notifier::reloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  auto microseconds = static_cast<long long>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
  send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(microseconds));
}

void Notifier::send(std::string state) {
  waiting_.push_back(std::move(state));
  if (waiting_.size() > kMostWaiting) waiting_.pop_front();
  send_waiting();
}

void Notifier::on_time(int, short, void* notifier) noexcept { static_cast<Notifier*>(notifier)->send_waiting(); }

void Notifier::send_waiting() {
  const char* path = std::getenv("NOTIFY_SOCKET");
  bool has_manager = path && (path[0] == '/' || path[0] == '@');
  if (!has_manager) return waiting_.clear();
  while (!waiting_.empty()) {
    int error = send_to(path, waiting_.front());
    if (error == EAGAIN || error == ENOBUFS)  // it is busy, and its queue is full
      return again_.start_timer(loop_.base(), kAgain, on_time, this);
    if (error != 0)
      log_line(LogLevel::Warning, "notify", "cannot tell the service manager",
               {{"socket", std::string(path)}, {"error", std::string(std::strerror(error))}});
    waiting_.pop_front();
  }
}

}  // namespace cloudbus
