// SPDX-License-Identifier: Apache-2.0
#pragma once

// How long to wait before the next try: twice as long each time, with jitter so that many do not retry at once.

#include <algorithm>

#include "cloudbus/core/base/time.h"

namespace cloudbus {

class Backoff {
 public:
  Backoff(Duration first, Duration most) : first_(first), most_(most), next_(first) {}

  // `random` is in [0, 1); the wait is between half of the step and the whole step.
  Duration next(double random) {
    Duration step = next_;
    next_ = std::min(most_, next_ * 2);
    return std::chrono::duration_cast<Duration>(step * (0.5 + random / 2));
  }

  void reset() { next_ = first_; }

 private:
  Duration first_, most_, next_;
};

}  // namespace cloudbus
