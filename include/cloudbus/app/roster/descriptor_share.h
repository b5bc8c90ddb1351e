// SPDX-License-Identifier: Apache-2.0
#pragma once

// The descriptors of the process, and what its services have of them: core/policy/share.h. All threads count in the
// same place.

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "cloudbus/app/config/config.h"

namespace cloudbus {

class DescriptorShare;

class Descriptors {
 public:
  // `limit`: of the process. Links, listeners, names and files have a part of it for themselves.
  void set_limit(std::uint64_t limit) { for_services_ = limit - limit / kOthersPart; }
  // Of a service; the same one as long as somebody has it.
  std::shared_ptr<DescriptorShare> share_of(ServiceId service);

 private:
  friend class DescriptorShare;
  static constexpr std::uint64_t kOthersPart = 16;

  std::atomic<std::uint64_t> for_services_ = UINT64_MAX;  // until the limit is known
  std::atomic<std::uint64_t> used_ = 0;
  std::mutex mutex_;  // guards what follows
  std::map<ServiceId, std::weak_ptr<DescriptorShare>> shares_;
  std::size_t look_at_ = 0;  // so many in it: then those that nobody has are thrown out
};

class DescriptorShare {
 public:
  explicit DescriptorShare(Descriptors& all) : all_(all) {}
  DescriptorShare(const DescriptorShare&) = delete;
  DescriptorShare& operator=(const DescriptorShare&) = delete;

  bool may_take() const;
  void take();
  void give_back();

 private:
  Descriptors& all_;
  std::atomic<std::uint64_t> held_ = 0;
};

}  // namespace cloudbus
