// SPDX-License-Identifier: Apache-2.0
#pragma once

// What all parts of a simulation share.

#include <fmt/format.h>

#include <chrono>
#include <cstdint>

#include "cloudbus/core/base/time.h"
#include "cloudbus/core/session/slab.h"
#include "core/random.h"
#include "core/simulator/content.h"

namespace cloudbus {

inline constexpr std::uint64_t kNever = ~std::uint64_t{0};

struct SimulatedWorld {
  SimulatedWorld(std::uint64_t seed, bool tells) : random(seed), trace(tells) {}

  static constexpr Time kStart{std::chrono::hours(1)};

  Random random;
  bool trace;
  Time now = kStart, last_progress = kStart;
  std::uint64_t steps = 0, fingerprint = 0;

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
