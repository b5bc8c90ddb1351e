// SPDX-License-Identifier: Apache-2.0
#pragma once

// How much may stand before the next byte that is taken in for a link: what the link carries in a moment, as far as it
// is known. On a slow link, more would only be waiting time for those who come later; and so it is on a fast one while
// somebody has only little to say.

#include <algorithm>
#include <cstddef>

#include "cloudbus/core/time.h"

namespace cloudbus {

class Standing {
 public:
  static constexpr std::size_t kMost = 1024 * 1024;                   // bytes
  static constexpr std::size_t kLeast = 64 * 1024;                    // bytes
  static constexpr Duration kMoment = std::chrono::milliseconds(10);  // at least; otherwise a fourth of a round trip
  static constexpr Duration kForget = std::chrono::seconds(1);        // without a time at which it was full
  static constexpr std::size_t kMostBesideSmall = 128 * 1024;         // bytes
  static constexpr Duration kRecent = std::chrono::milliseconds(100);

  // The kernel took so many bytes.
  void on_taken(std::size_t bytes) { taken_ += bytes; }

  // It takes no more. From one such time to another, what it takes is what the link carries.
  void on_full(Time now) {
    Duration took = now - began_;
    if (took < kMoment) return;
    if (took <= kForget) add_sample(static_cast<double>(taken_) / static_cast<double>(took.count()));
    began_ = now;
    taken_ = 0;
    had_room_ = false;
  }

  // It took everything: the link may have carried more than it was given.
  void on_emptied() { had_room_ = true; }

  // Bytes were taken in from a stream that says little.
  void on_small(Time now) { small_at_ = now; }

  // Bytes.
  std::size_t most(Duration round_trip, Time now) const {
    bool waits_for_turns = round_trip < kMoment && now - small_at_ <= kRecent;  // otherwise the way takes longer
    return std::min(carried(round_trip, now), waits_for_turns ? kMostBesideSmall : kMost);
  }

  // Less than that is known to be carried in a moment.
  bool is_slow(Duration round_trip, Time now) const { return carried(round_trip, now) < kMost; }

 private:
  // In a moment, in bytes; kMost while nothing is known.
  std::size_t carried(Duration round_trip, Time now) const {
    if (rate_ == 0 || now - began_ > kForget) return kMost;
    double bytes = rate_ * static_cast<double>(std::max(kMoment, round_trip / 4).count());
    return static_cast<std::size_t>(std::clamp(bytes, double{kLeast}, double{kMost}));
  }

  void add_sample(double rate) {
    bool is_least = had_room_ && rate < rate_;
    rate_ = rate_ == 0 ? rate : rate_ + (rate - rate_) / (is_least ? 16 : 4);
  }

  double rate_ = 0;  // bytes in a microsecond; 0 is unknown
  std::size_t taken_ = 0;
  bool had_room_ = false;
  Time began_{};  // of the sample
  Time small_at_{};
};

}  // namespace cloudbus
