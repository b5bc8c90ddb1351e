// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>

#include "cloudbus/core/base/time.h"

namespace cloudbus {

// A struct event that removes itself from its loop.
class Watch {
 public:
  Watch() = default;
  ~Watch() { stop(); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  void start(event_base* base, int fd, short what, event_callback_fn callback, void* argument);
  void start_timer(event_base* base, Duration wait, event_callback_fn callback, void* argument);
  void stop();

 private:
  event event_;
  bool started_ = false;
};

}  // namespace cloudbus
