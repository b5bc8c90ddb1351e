// SPDX-License-Identifier: Apache-2.0
#pragma once

// The limit of a link's backlog, the unwritten bytes ahead of the next byte that is taken in: what the link carries in
// a moment, as far as its rate is known (doc/protocol.md, section 8). A larger backlog on a slow link would only be
// waiting time for later bytes. On a fast link, the same is true of small requests.

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "cloudbus/core/base/time.h"

namespace cloudbus {

// When bytes of a stream that sends little were last taken in. Any thread of the process may call it.
class SmallTraffic {
 public:
  static constexpr Duration kRecent = std::chrono::milliseconds(100);

  void on_taken_in(Time now) {
    Duration at = now.time_since_epoch();
    if (at - at_.load(std::memory_order_relaxed) > kStep) at_.store(at, std::memory_order_relaxed);
  }
  bool is_recent(Time now) const { return now.time_since_epoch() - at_.load(std::memory_order_relaxed) <= kRecent; }

 private:
  // More frequent calls do not write, so that the cache line stays in the caches of the threads that read it.
  static constexpr Duration kStep = std::chrono::milliseconds(5);

  std::atomic<Duration> at_ = -2 * kRecent;
};

class QueueLimit {
 public:
  static constexpr std::size_t kMost = 1024 * 1024;                   // bytes
  static constexpr std::size_t kLeast = 64 * 1024;                    // bytes
  static constexpr Duration kMoment = std::chrono::milliseconds(10);  // or RTT / 4, if that is longer
  static constexpr Duration kForget = std::chrono::seconds(1);        // an older rate is unknown
  static constexpr std::size_t kMostBesideSmall = 128 * 1024;         // bytes

  explicit QueueLimit(const SmallTraffic& small) : small_(small) {}

  // The kernel took `bytes`.
  void on_taken(std::size_t bytes) { taken_ += bytes; }

  // The kernel takes no more. What it takes from one such time to the next is what the link carries.
  void on_full(Time now) {
    Duration took = now - began_;
    if (took < kMoment) return;
    if (took <= kForget) add_sample(static_cast<double>(taken_) / static_cast<double>(took.count()));
    began_ = now;
    taken_ = 0;
    had_room_ = false;
  }

  // The kernel took everything: the link may be able to carry more.
  void on_emptied() { had_room_ = true; }

  // Bytes.
  std::size_t most(Duration round_trip, Time now) const {
    bool waits_for_turns = round_trip < kMoment && small_.is_recent(now);  // otherwise the RTT is what takes long
    return std::min(carried(round_trip, now), waits_for_turns ? kMostBesideSmall : kMost);
  }

  // The link is known to carry less than kMost in a moment.
  bool is_slow(Duration round_trip, Time now) const { return carried(round_trip, now) < kMost; }

 private:
  // Bytes in a moment; kMost while the rate is unknown.
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
  double rate_ = 0;  // bytes/us; 0 is unknown
  std::size_t taken_ = 0;
  bool had_room_ = false;
  Time began_{};  // of the sample
};

}  // namespace cloudbus
