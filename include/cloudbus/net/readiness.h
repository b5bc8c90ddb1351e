// SPDX-License-Identifier: Apache-2.0
#pragma once

// Edge-triggered readiness of very many sockets that are mostly idle.
//
// The sockets are in an epoll of their own, which the loop watches as one descriptor: epoll(7), "nested". For each
// socket, a struct event and its entry in libevent's table would take 176 bytes, and a system call at its close.

#include <event2/event.h>

#include <utility>

#include "cloudbus/net/watch.h"

namespace cloudbus {

class ReadinessOwner {
 public:
  // What changed. A broken socket is readable and writable, without any other sign: the next read finds the error.
  struct Ready {
    bool readable, writable;
    bool ending;  // the peer's end is behind what can be read
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

  // Until the socket is closed, `owner` is told of changes. The owner outlives the turn in which the socket is closed,
  // since an event of this turn may still name it. False when the kernel takes no more sockets: epoll_ctl(2), ENOMEM
  // and ENOSPC.
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
