// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whether an address is passed over for a while, because it failed.

#include "cloudbus/core/time.h"

namespace cloudbus {

//   in --3 failures in a row--> out --time--> on trial --success--> in
//                                             on trial --failure--> out, twice as long
class Health {
 public:
  static constexpr int kFailures = 3;
  static constexpr Duration kFirst = std::chrono::seconds(1), kMost = std::chrono::seconds(60);

  // Whether a conversation may go there; one only while it is on trial.
  bool is_in(Time now) const { return out_for_ == Duration::zero() || now >= until_; }
  // A conversation goes there.
  void begin(Time now) {
    if (out_for_ != Duration::zero()) until_ = now + out_for_;
  }
  // True if it was out.
  bool on_success();
  // True if it was in until now.
  bool on_failure(Time now);
  Duration out_for() const { return out_for_; }

 private:
  int failures_ = 0;     // in a row
  Duration out_for_{0};  // 0: it is in
  Time until_{};
};

}  // namespace cloudbus
