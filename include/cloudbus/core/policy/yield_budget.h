// SPDX-License-Identifier: Apache-2.0
#pragma once

// When a loop may give its processor to others before it waits for events: sched_yield(2).
//
// Processes at work on the same conversations then run first, and the next turn finds more to do, so that each part of
// it costs less. A CPU-bound process would keep the processor for long. So other processes may take a few times what
// the turns take; after more than that the loop does not give the processor away for a while.

#include <algorithm>

#include "cloudbus/core/base/time.h"

namespace cloudbus {

class YieldBudget {
 public:
  static constexpr int kTimes = 4;  // what other processes may take, in times of what the turns take
  static constexpr Duration kMost = std::chrono::milliseconds(8);     // that are saved up at most
  static constexpr Duration kPause = std::chrono::milliseconds(256);  // once the budget is used up

  // A turn that took `took` ended at `now`. True when the processor may be given away.
  bool on_turn(Time now, Duration took) {
    left_ = std::min(left_ + kTimes * took, kMost);
    return now >= paused_until_;
  }

  // The processor was given away for `took`, and is back at `now`.
  void on_back(Time now, Duration took) {
    left_ -= took;
    if (left_ >= Duration::zero()) return;
    left_ = kMost;
    paused_until_ = now + kPause;
  }

 private:
  Duration left_ = kMost;
  Time paused_until_ = Time::min();
};

}  // namespace cloudbus
