// SPDX-License-Identifier: Apache-2.0
#pragma once

// What all parts of a simulation of fan-outs share.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "cloudbus/core/base/time.h"
#include "cloudbus/core/session/slab.h"
#include "core/random.h"
#include "core/simulator/content.h"

namespace cloudbus {

struct FanoutWorld {
  FanoutWorld(std::uint64_t seed, bool tells) : random(seed), trace(tells) {}

  static constexpr Time kStart{std::chrono::hours(1)};

  Random random;
  bool trace;
  Time now = kStart, last_progress = kStart;
  std::uint64_t steps = 0, fingerprint = 0;

  // --- Drawn from the seed ---
  std::uint64_t memory = 0;   // bytes, of the controller
  std::uint64_t scale = 1;    // bytes, of what is sent
  std::uint64_t uploads = 1;  // how much more than a server a client sends
  std::size_t most_chunk = 1;
  std::uint64_t tick = 1;  // microseconds that a step takes at most
  std::uint32_t window = 0;
  bool restless = false;  // links meet their fates
  bool eager = false;     // servers say little, at once, and many of them read nothing

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
    eager = random.chance(15);
    say("memory {}, scale {}, chunks {}, ticks {}", memory, scale, most_chunk, tick);
  }

  void progress() { last_progress = now; }
  void note(std::uint64_t value) { fingerprint = (fingerprint ^ value) * 0x100000001B3 + (fingerprint >> 29); }
  template <typename... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) const {
    if (trace)
      fmt::print("{:6} {:>9} us  {}\n", steps, (now - kStart).count(),
                 fmt::format(format, std::forward<Args>(args)...));
  }

  // Warm for the next simulation: there are many.
  static SlabPool& slabs() {
    static SlabPool pool;
    return pool;
  }
  static const Content& content() {
    static const Content content;
    return content;
  }
};

}  // namespace cloudbus
