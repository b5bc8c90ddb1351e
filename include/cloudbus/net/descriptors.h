// SPDX-License-Identifier: Apache-2.0
#pragma once

// The limit of open descriptors of this process.

#include <cstdint>

namespace cloudbus {

struct DescriptorLimit {
  std::uint64_t before, now;  // the soft limit, before and after raising it to the hard limit
};

DescriptorLimit raise_descriptor_limit();

}  // namespace cloudbus
