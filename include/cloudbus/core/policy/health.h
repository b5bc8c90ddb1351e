// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whether an address is passed over for a while, because it failed.

#include "cloudbus/core/base/time.h"

namespace cloudbus {

struct HealthRules {
  int fall = 3;  // failures in a row until the address is out
  int rise = 1;  // successes in a row until the address is in again
  // Checks try the address while it is out; otherwise a conversation does.
  bool is_checked = false;
};

//   in --`fall` failures in a row--> out --time--> on trial --success--> in
//                                                  on trial --failure--> out, twice as long
//   checked: in --`fall` failures in a row--> out --`rise` successes in a row--> in
class Health {
 public:
  static constexpr Duration kFirst = std::chrono::seconds(1), kMost = std::chrono::seconds(60);

  explicit Health(const HealthRules& rules = {}) : rules_(rules) {}

  // Whether a conversation may go to the address; only one may while it is on trial.
  bool is_in(Time now) const { return out_for_ == Duration::zero() || (!rules_.is_checked && now >= until_); }
  // A conversation goes to the address.
  void begin(Time now) {
    if (out_for_ != Duration::zero()) until_ = now + out_for_;
  }
  // True if the address was out, and is in again.
  bool on_success();
  // True if the address was in until now.
  bool on_failure(Time now);
  // Nothing has failed since the last success.
  bool is_well() const { return failures_ == 0 && out_for_ == Duration::zero(); }
  Duration out_for() const { return out_for_; }

 private:
  HealthRules rules_;
  int failures_ = 0, successes_ = 0;  // in a row; successes while it is out
  Duration out_for_{0};               // 0: the address is in
  Time until_{};
};

}  // namespace cloudbus
