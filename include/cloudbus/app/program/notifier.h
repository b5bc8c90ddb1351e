// SPDX-License-Identifier: Apache-2.0
#pragma once

// Tells the service manager how far the daemon is: sd_notify(3). Never waits for it; what it does not take now is sent
// again. Without a service manager this does nothing.

#include <deque>
#include <string>

#include "cloudbus/net/loop.h"

namespace cloudbus {

class Notifier {
 public:
  explicit Notifier(Loop& loop) : loop_(loop) {}
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  // Every bind that is available is listening; also at the end of a reload, one that was refused too.
  void ready() { send("READY=1"); }
  // The configuration is read again.
  void reloading();
  // The daemon drains; it takes no new clients.
  void stopping() { send("STOPPING=1"); }

 private:
  static void on_time(int fd, short what, void* notifier) noexcept;
  void send(std::string state);
  void send_waiting();

  Loop& loop_;
  std::deque<std::string> waiting_;
  Watch again_;
};

}  // namespace cloudbus
