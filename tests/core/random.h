// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>

namespace cloudbus {

// The same numbers everywhere, unlike the distributions of the standard library.
class Random {
 public:
  // SplitMix64. The first number becomes the state, or one seed would go on where another began.
  explicit Random(std::uint64_t seed) : state_(seed) { state_ = next(); }

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  bool chance(unsigned percent) { return below(100) < percent; }
  // 1 to `most`, small ones as often as large ones.
  std::uint64_t size(std::uint64_t most) {
    std::uint64_t bound = most;
    while (bound > 1 && chance(40)) bound = bound / 4 + 1;
    return 1 + below(bound);
  }
  template <typename Value>
  Value pick(std::initializer_list<Value> values) {
    return values.begin()[below(values.size())];
  }

 private:
  std::uint64_t state_;
};

}  // namespace cloudbus
