// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/watch.h"

#include <utility>

namespace cloudbus {

void Watch::start(event_base* base, int fd, short what, event_callback_fn callback, void* argument) {
  stop();
  event_assign(&event_, base, fd, what, callback, argument);
  started_ = event_add(&event_, nullptr) == 0;
}

void Watch::start_timer(event_base* base, Duration wait, event_callback_fn callback, void* argument) {
  stop();
  evtimer_assign(&event_, base, callback, argument);
  timeval tv{static_cast<time_t>(wait.count() / 1'000'000), static_cast<suseconds_t>(wait.count() % 1'000'000)};
  started_ = event_add(&event_, &tv) == 0;
}

void Watch::stop() {
  if (std::exchange(started_, false)) event_del(&event_);
}

}  // namespace cloudbus
