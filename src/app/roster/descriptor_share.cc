// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/roster/descriptor_share.h"

#include "cloudbus/core/policy/share.h"

namespace cloudbus {

// Nobody waits for these counts, and a few too many do no harm.
constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr std::size_t kFew = 64;
constexpr std::uint64_t kFactor = 15;  // one alone has nearly all

std::shared_ptr<DescriptorShare> Descriptors::share_of(ServiceId service) {
  const std::lock_guard lock(mutex_);
  if (shares_.size() >= look_at_) {
    std::erase_if(shares_, [](const auto& entry) { return entry.second.expired(); });
    look_at_ = 2 * shares_.size() + kFew;
  }
  std::weak_ptr<DescriptorShare>& known = shares_[service];
  std::shared_ptr<DescriptorShare> share = known.lock();
  if (!share) known = share = std::make_shared<DescriptorShare>(*this);
  return share;
}

bool DescriptorShare::may_take() const {
  return may_hold_more(held_.load(kRelaxed), all_.used_.load(kRelaxed), all_.for_services_.load(kRelaxed), kFactor);
}

void DescriptorShare::take() {
  held_.fetch_add(1, kRelaxed);
  all_.used_.fetch_add(1, kRelaxed);
}

void DescriptorShare::give_back() {
  held_.fetch_sub(1, kRelaxed);
  all_.used_.fetch_sub(1, kRelaxed);
}

}  // namespace cloudbus
