// SPDX-License-Identifier: Apache-2.0
#pragma once

// When a loop may give its processor to others before it waits for events: sched_yield(2).
//
// Whoever else is at work on the same conversations then runs first, and the next turn finds more to do, so that each
// part of it costs less. Somebody who has nothing to do with them would keep the processor for long. So what others
// take may be a few times what the turns take themselves; after more than that the loop gives nothing for a while.

#include <algorithm>

#include "cloudbus/core/base/time.h"

namespace cloudbus {

class YieldBudget {
 public:
  static constexpr int kTimes = 4;                                    // of what the turns take
  static constexpr Duration kMost = std::chrono::milliseconds(8);     // that was not taken is kept
  static constexpr Duration kPause = std::chrono::milliseconds(256);  // once it is used up

  // At `now` a turn ended that took `took`. True when the processor may be given away.
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
