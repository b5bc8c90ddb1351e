// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/descriptors.h"

#include <sys/resource.h>

namespace cloudbus {

DescriptorLimit raise_descriptor_limit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return {before, before};
  return {before, limit.rlim_cur};
}

}  // namespace cloudbus
