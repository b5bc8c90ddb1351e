// SPDX-License-Identifier: Apache-2.0
#pragma once

// The order in which a server's addresses are tried. Knows numbers only.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cloudbus/core/names/srv.h"

namespace cloudbus {

class TargetChoice {
 public:
  // Returns indices of addresses. `record_of` has the index of the SRV record of each address. Records come in the
  // order of RFC 2782; the addresses of one record, or all addresses where there are no records, in rotation.
  std::vector<std::size_t> order(std::span<const std::uint32_t> record_of, std::span<const SrvRecord> records,
                                 const Draw& draw);

 private:
  std::size_t turn_ = 0;
};

}  // namespace cloudbus
