// SPDX-License-Identifier: Apache-2.0
#pragma once

// How much may stand before the next byte that is taken in for a link: what the link carries in a moment, as far as it
// is known. On a slow link, more would only be waiting time for those who come later; and so it is on a fast one while
// somebody has only little to say.

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "cloudbus/core/base/time.h"

namespace cloudbus {

// When bytes of a stream that says little were last taken in. Any thread of the process may tell and ask.
class SmallTraffic {
 public:
  static constexpr Duration kRecent = std::chrono::milliseconds(100);

  void on_taken_in(Time now) {
    Duration at = now.time_since_epoch();
    if (at - at_.load(std::memory_order_relaxed) > kStep) at_.store(at, std::memory_order_relaxed);
  }
  bool is_recent(Time now) const { return now.time_since_epoch() - at_.load(std::memory_order_relaxed) <= kRecent; }

 private:
  // Whoever tells more often does not take the line out of the caches of those who ask.
  static constexpr Duration kStep = std::chrono::milliseconds(5);

  std::atomic<Duration> at_ = -2 * kRecent;
};

class QueueLimit {
 public:
  static constexpr std::size_t kMost = 1024 * 1024;                   // bytes
  static constexpr std::size_t kLeast = 64 * 1024;                    // bytes
  static constexpr Duration kMoment = std::chrono::milliseconds(10);  // at least; otherwise a fourth of a round trip
  static constexpr Duration kForget = std::chrono::seconds(1);        // without a time at which it was full
  static constexpr std::size_t kMostBesideSmall = 128 * 1024;         // bytes

  explicit QueueLimit(const SmallTraffic& small) : small_(small) {}

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

  // Bytes.
  std::size_t most(Duration round_trip, Time now) const {
    bool waits_for_turns = round_trip < kMoment && small_.is_recent(now);  // otherwise the way takes longer
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

  const SmallTraffic& small_;
  double rate_ = 0;  // bytes in a microsecond; 0 is unknown
  std::size_t taken_ = 0;
  bool had_room_ = false;
  Time began_{};  // of the sample
};

}  // namespace cloudbus
