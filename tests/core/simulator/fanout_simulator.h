// SPDX-License-Identifier: Apache-2.0
#pragma once

// A controller with links to several segments, and clients that are each sent to some of them. Clients, servers and
// links do as they like, in time that is only counted. Everything follows from the seed. What must hold is checked at
// every step: fanout_rules.h.

#include <cstdint>
#include <string>

namespace cloudbus {

struct FanoutResult {
  std::string error;          // what does not hold; empty if all does
  std::uint64_t fingerprint;  // of all that happened: the same for the same seed
  std::uint64_t steps, conversations;
  std::uint64_t up, down;  // bytes that reached servers and clients
  std::uint64_t clean_ends, resets, no_quorums;
  std::uint64_t winners, losers, replaced, lagging, waits, lost_links;  // conversations in which there were such
  std::uint64_t resumed;                                                // links
};

// With `trace`, tells on stdout what happens.
FanoutResult simulate_fanout(std::uint64_t seed, bool trace = false);

}  // namespace cloudbus
