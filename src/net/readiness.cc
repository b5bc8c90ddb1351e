// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/readiness.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace cloudbus {
namespace {

constexpr int kMostAtOnce = 256;  // the others come in the next turn

}  // namespace

Readiness::Readiness() : fd_(epoll_create1(EPOLL_CLOEXEC)) {
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "cannot make an epoll");
}

Readiness::~Readiness() {
  watch_.stop();
  ::close(fd_);
}

void Readiness::start(event_base* base) { watch_.start(base, fd_, EV_READ | EV_PERSIST, on_some, this); }

bool Readiness::add(int fd, ReadinessOwner& owner) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &owner;
  return epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void Readiness::on_some(int, short, void* readiness) noexcept { static_cast<Readiness*>(readiness)->tell(); }

void Readiness::tell() {
  epoll_event events[kMostAtOnce];
  int count = epoll_wait(fd_, events, kMostAtOnce, 0);
  count_ += std::max(count, 0);
  for (int i = 0; i < count; i++) {
    std::uint32_t what = events[i].events;
    bool broke = (what & EPOLLERR) != 0 || (what & (EPOLLHUP | EPOLLRDHUP)) == EPOLLHUP;
    bool ending = !broke && (what & EPOLLRDHUP) != 0;
    bool readable = broke || ending || (what & EPOLLIN) != 0;
    static_cast<ReadinessOwner*>(events[i].data.ptr)->on_ready({readable, broke || (what & EPOLLOUT) != 0, ending});
  }
}

}  // namespace cloudbus
