// SPDX-License-Identifier: Apache-2.0
#pragma once

// How much may stand before the next byte that is taken in for a link: what the link carries in a moment, as far as it
// is known. On a slow link, more would only be waiting time for those who come later.

#include <algorithm>
#include <cstddef>

#include "cloudbus/core/time.h"

namespace cloudbus {

class Standing {
 public:
  static constexpr std::size_t kMost = 1024 * 1024;                   // bytes
  static constexpr std::size_t kLeast = 64 * 1024;                    // bytes
  static constexpr Duration kMoment = std::chrono::milliseconds(10);  // at least; otherwise a fourth of a round trip

  // The kernel took so many bytes.
  void on_taken(std::size_t bytes) { taken_ += bytes; }

  // It takes no more. From one such time to the next, what it takes is what the link carries.
  void on_full(Time now) {
    if (was_full_) {
      Duration took = std::max(now - full_at_, kLeastTime);
      double carried = static_cast<double>(taken_) / static_cast<double>(took.count());
      rate_ = rate_ == 0 ? carried : rate_ + (carried - rate_) / 4;
    }
    was_full_ = true;
    full_at_ = now;
    taken_ = 0;
  }

  // It took everything: the link carries at least what it is given.
  void on_emptied() {
    if (!was_full_) return;
    was_full_ = false;
    rate_ *= 2;
  }

  // Bytes; kMost while nothing is known.
  std::size_t most(Duration round_trip) const {
    if (rate_ == 0) return kMost;
    double carried = rate_ * static_cast<double>(std::max(kMoment, round_trip / 4).count());
    return static_cast<std::size_t>(std::clamp(carried, double{kLeast}, double{kMost}));
  }

 private:
  static constexpr Duration kLeastTime = std::chrono::microseconds(100);  // below it the clock's own steps count

  double rate_ = 0;  // bytes in a microsecond; 0 is unknown
  std::size_t taken_ = 0;
  bool was_full_ = false;
  Time full_at_{};
};

}  // namespace cloudbus
