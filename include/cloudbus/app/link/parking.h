// SPDX-License-Identifier: Apache-2.0
#pragma once

// The sessions of a segment's worker that wait for another link. Bounded in number and in what they keep over all of
// them: past that the oldest is given up.

#include <deque>

#include "cloudbus/app/link/links.h"

namespace cloudbus {

class Parking {
 public:
  static constexpr std::size_t kMost = 1024;       // sessions
  static constexpr std::uint64_t kMemoryPart = 4;  // they keep one in so many bytes of the worker's budget

  explicit Parking(Links& links) : links_(links) {}

  void add(PeerId peer);

 private:
  Peer* find(PeerId id);
  static std::uint64_t kept_by(Peer& peer);

  Links& links_;
  std::deque<PeerId> parked_;  // the oldest first; some have gone on since
};

}  // namespace cloudbus
