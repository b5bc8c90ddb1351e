// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/health.h"

#include <algorithm>
#include <utility>

namespace cloudbus {

bool Health::on_success() {
  failures_ = 0;
  return std::exchange(out_for_, Duration::zero()) != Duration::zero();
}

bool Health::on_failure(Time now) {
  if (out_for_ == Duration::zero() && ++failures_ < kFailures) return false;
  bool was_in = out_for_ == Duration::zero();
  out_for_ = was_in ? kFirst : std::min(out_for_ * 2, kMost);
  until_ = now + out_for_;
  return was_in;
}

}  // namespace cloudbus
