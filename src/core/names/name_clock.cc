// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/name_clock.h"

namespace cloudbus {

void NameClock::on_found(Duration ttl, Time now, double random) {
  is_asking_ = has_failed_ = is_missing_ = false;
  has_answer_ = true;
  answered_at_ = now;
  Duration serves = std::clamp(ttl, kLeastTtl, kMostTtl);
  Time over = now + serves + std::chrono::duration_cast<Duration>(serves * (kJitter * random));
  ask_at_ = has_part_ ? std::min(ask_at_, over) : over;
  backoff_.reset();
}

void NameClock::on_part(Duration ttl, Time now, double random) {
  on_found(ttl, now, random);
  is_asking_ = has_part_ = true;
}

void NameClock::on_missing(Duration negative_ttl, Time now, double random) {
  on_found(std::min(negative_ttl, kMostNegativeTtl), now, random);
  is_missing_ = true;
}

void NameClock::on_failed(Time now, double random) {
  is_asking_ = false;
  has_failed_ = true;
  ask_at_ = now + backoff_.next(random);
}

}  // namespace cloudbus
