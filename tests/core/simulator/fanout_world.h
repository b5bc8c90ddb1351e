// SPDX-License-Identifier: Apache-2.0
#pragma once

// What all parts of a simulation of fan-outs share.

#include <algorithm>

#include "core/simulator/simulated_world.h"

namespace cloudbus {

struct FanoutWorld : SimulatedWorld {
  using SimulatedWorld::SimulatedWorld;

  // --- Drawn from the seed ---
  std::uint64_t memory = 0;   // bytes, of the controller
  std::uint64_t scale = 1;    // bytes, of what is sent
  std::uint64_t uploads = 1;  // how much more than a server a client sends
  std::size_t most_chunk = 1;
  std::uint64_t tick = 1;  // microseconds that a step takes at most
  std::uint32_t window = 0;
  bool restless = false;   // links meet their fates
  bool resumable = false;  // sessions outlive links
  bool eager = false;      // servers say little, at once, and many of them read nothing

  void plan() {
    memory = random.pick<std::uint64_t>({256 * 1024, 2 * 1024 * 1024, 64 * 1024 * 1024, 64 * 1024 * 1024});
    scale = random.pick<std::uint64_t>({300, 3'000, 30'000, 120'000, 400'000});
    if (random.chance(10)) uploads = 10;  // so that memory gets short
    most_chunk = scale < 30'000 ? random.pick<std::size_t>({1, 40, 1'000, 100'000})
                                : random.pick<std::size_t>({1'000, 20'000, 300'000});
    if (uploads > 1) {
      scale = 400'000;
      most_chunk = 300'000;
    }
    tick = std::min<std::uint64_t>(most_chunk, random.pick<std::uint64_t>({1, 10, 100, 1'000}));
    window = random.pick<std::uint32_t>({16'384, 16'384, 20'000, 65'536, 262'144});
    restless = random.chance(40);
    resumable = random.chance(40);
    eager = random.chance(15);
    say("memory {}, scale {}, chunks {}, ticks {}", memory, scale, most_chunk, tick);
  }
};

}  // namespace cloudbus
