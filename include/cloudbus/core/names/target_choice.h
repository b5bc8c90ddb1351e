// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which of a server's addresses is tried first, and which then. Knows numbers only.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cloudbus/core/names/srv.h"

namespace cloudbus {

class TargetChoice {
 public:
  // `record_of` tells for each address of which SRV record it is. Records come in the order of RFC 2782; the addresses
  // of one, or all where there are no records, in turn.
  std::vector<std::size_t> order(std::span<const std::uint32_t> record_of, std::span<const SrvRecord> records,
                                 const Draw& draw);

 private:
  std::size_t turn_ = 0;
};

}  // namespace cloudbus
