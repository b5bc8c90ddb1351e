// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/policy/health.h"

#include <algorithm>

namespace cloudbus {

bool Health::on_success() {
  failures_ = 0;
  if (out_for_ == Duration::zero() || ++successes_ < rules_.rise) return false;
  successes_ = 0;
  out_for_ = Duration::zero();
  return true;
}

bool Health::on_failure(Time now) {
  successes_ = 0;
  if (out_for_ == Duration::zero() && ++failures_ < rules_.fall) return false;
  bool was_in = out_for_ == Duration::zero();
  out_for_ = was_in ? kFirst : std::min(out_for_ * 2, kMost);
  until_ = now + out_for_;
  return was_in;
}

}  // namespace cloudbus
