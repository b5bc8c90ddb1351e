// SPDX-License-Identifier: Apache-2.0
#pragma once

// The signals that a daemon answers. controller(8), SIGNALS, says what each does.

#include <functional>
#include <memory>
#include <vector>

#include "cloudbus/net/loop.h"

namespace cloudbus {

class Signals {
 public:
  using OnSignal = std::function<void(int signal)>;

  // In the main thread, before there are others: what would end or stop the process by accident no longer does. What
  // is answered waits until watch().
  static void hold();

  // `on_signal` is called in the loop's thread, with SIGTERM, SIGINT, SIGHUP, SIGUSR1 or SIGUSR2.
  void watch(Loop& loop, OnSignal on_signal);

 private:
  static void on_event(int signal, short what, void* signals) noexcept;

  OnSignal on_signal_;
  std::vector<std::unique_ptr<Watch>> watches_;
};

}  // namespace cloudbus
