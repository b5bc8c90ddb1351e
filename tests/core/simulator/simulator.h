// SPDX-License-Identifier: Apache-2.0
#pragma once

// A controller's and a segment's session joined back to back, with applications at both ends that do as they like, in
// time that is only counted. Everything follows from the seed. What must hold is checked at every step.

#include <cstdint>
#include <string>

namespace cloudbus {

struct SimulationResult {
  std::string error;               // what does not hold; empty if all does
  std::uint64_t fingerprint;       // of all that happened: the same for the same seed
  std::uint64_t steps, delivered;  // bytes delivered in both directions
  std::uint64_t streams, resets, finished;
  bool was_cut;
  std::uint64_t resumed;  // links
};

// With `trace`, tells on stdout what happens.
SimulationResult simulate(std::uint64_t seed, bool trace = false);

}  // namespace cloudbus
