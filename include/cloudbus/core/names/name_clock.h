// SPDX-License-Identifier: Apache-2.0
#pragma once

// When a name is asked for again, and how long its last answer serves. One for each name; the answer itself is kept by
// its owner.

#include "cloudbus/core/base/time.h"
#include "cloudbus/core/policy/backoff.h"

namespace cloudbus {

class NameClock {
 public:
  static constexpr Duration kLeastTtl = std::chrono::seconds(1), kMostTtl = std::chrono::hours(1);
  static constexpr Duration kMostNegativeTtl = std::chrono::minutes(1);
  static constexpr Duration kStale = std::chrono::hours(24);  // an answer serves so long when no other can be had

  // It was asked for; on_found(), on_missing() or on_failed() will follow.
  void ask() {
    is_asking_ = true;
    has_part_ = false;
  }
  // A TTL is kept within its bounds.
  void on_found(Duration ttl, Time now);
  // The same for a part of the answer; the rest follows with on_found().
  void on_part(Duration ttl, Time now);
  // There is no such name, or it has no such record.
  void on_missing(Duration negative_ttl, Time now);
  // No answer. `random` is evenly in [0, 1).
  void on_failed(Time now, double random);

  // It was asked for, and nothing of the answer is there yet.
  bool is_awaited() const { return is_asking_ && !has_part_; }
  // The answer is past its TTL, or there was none.
  bool is_due(Time now) const { return !is_asking_ && now >= ask_at_; }
  Time ask_at() const { return is_asking_ ? Time::max() : ask_at_; }
  // There is an answer that still serves, be it that there is nothing.
  bool serves(Time now) const { return has_answer_ && (!is_stale() || now < answered_at_ + kStale); }
  // The last answer is served on, because no other can be had.
  bool is_stale() const { return has_answer_ && has_failed_; }
  bool has_answer() const { return has_answer_; }
  bool has_failed() const { return has_failed_; }  // since the last answer

 private:
  Backoff backoff_{std::chrono::seconds(1), std::chrono::seconds(60)};
  Time ask_at_{}, answered_at_{};
  bool is_asking_ = false, has_part_ = false;
  bool has_answer_ = false;
  bool has_failed_ = false;
};

}  // namespace cloudbus
