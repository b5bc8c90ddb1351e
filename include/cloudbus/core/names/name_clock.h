// SPDX-License-Identifier: Apache-2.0
#pragma once

// When a name is looked up again, and how long its last answer serves. There is one for each name; its owner keeps the
// answer itself.

#include <algorithm>

#include "cloudbus/core/base/time.h"
#include "cloudbus/core/policy/backoff.h"

namespace cloudbus {

class NameClock {
 public:
  static constexpr Duration kLeastTtl = std::chrono::seconds(1), kMostTtl = std::chrono::hours(1);
  static constexpr Duration kMostNegativeTtl = std::chrono::minutes(1);
  // Of a TTL, at most: so much later is a name looked up again, so that names with one TTL do not remain in step.
  static constexpr double kJitter = 0.1;
  static constexpr Duration kStale = std::chrono::hours(24);  // how long an answer serves when there is no newer one

  // The name is being looked up; on_found(), on_missing() or on_failed() will follow.
  void ask() {
    is_asking_ = true;
    has_part_ = false;
  }
  // The TTL is kept within its bounds. `random` is evenly in [0, 1), here and below.
  void on_found(Duration ttl, Time now, double random);
  // As on_found(), for a part of the answer; the whole follows with on_found().
  void on_part(Duration ttl, Time now, double random);
  // There is no such name, or it has no such record.
  void on_missing(Duration negative_ttl, Time now, double random);
  // No answer.
  void on_failed(Time now, double random);

  // The name is being looked up, and no part of the answer is there yet.
  bool is_awaited() const { return is_asking_ && !has_part_; }
  // The TTL of the answer is over, or there was no answer.
  bool is_due(Time now) const { return !is_asking_ && now >= ask_at_; }
  Time ask_at() const { return is_asking_ ? Time::max() : ask_at_; }
  // There is an answer that still serves, even if it says that there is nothing.
  bool serves(Time now) const { return has_answer_ && (!is_stale() || now < answered_at_ + kStale); }
  // The last answer serves on, because the last lookup failed.
  bool is_stale() const { return has_answer_ && has_failed_; }
  bool has_answer() const { return has_answer_; }
  bool has_failed() const { return has_failed_; }  // since the last answer
  // The last lookup found something.
  bool is_settled() const { return has_answer_ && !has_failed_ && !is_missing_; }

  // Where names are looked up has changed: it is due at once, unless it is being looked up.
  void hurry(Time now) {
    ask_at_ = std::min(ask_at_, now);
    backoff_.reset();
  }

 private:
  Backoff backoff_{std::chrono::seconds(1), std::chrono::seconds(60)};
  Time ask_at_{}, answered_at_{};
  bool is_asking_ = false, has_part_ = false;
  bool has_answer_ = false;
  bool has_failed_ = false;
  bool is_missing_ = false;  // that is the answer
};

}  // namespace cloudbus
