// SPDX-License-Identifier: Apache-2.0
#pragma once

// Edge-triggered readiness of very many sockets that are mostly idle.
//
// They are in an epoll of their own, which the loop watches as one descriptor: epoll(7), "nested". A struct event and
// its place in libevent's table would take 176 bytes for each of them, and a system call when it is closed.

#include <event2/event.h>

#include <utility>

#include "cloudbus/net/watch.h"

namespace cloudbus {

class ReadinessOwner {
 public:
  // What changed. A socket that broke is readable and writable, and nothing else tells: the next read finds the error.
  struct Ready {
    bool readable, writable;
    bool ending;  // the peer's end stands behind what can be read
  };
  virtual void on_ready(Ready ready) noexcept = 0;

 protected:
  ~ReadinessOwner() = default;
};

class Readiness {
 public:
  Readiness();
  ~Readiness();
  Readiness(const Readiness&) = delete;
  Readiness& operator=(const Readiness&) = delete;

  void start(event_base* base);

  // Until the socket is closed, `owner` is told of changes. It outlives the turn in which the socket is closed, as its
  // name may be among those of this turn. False when the kernel takes no more: epoll_ctl(2), ENOMEM and ENOSPC.
  bool add(int fd, ReadinessOwner& owner);

  // How many sockets were ready since the last call.
  int take_count() { return std::exchange(count_, 0); }

 private:
  static void on_some(int fd, short what, void* readiness) noexcept;
  void tell();

  int fd_;
  int count_ = 0;
  Watch watch_;
};

}  // namespace cloudbus
