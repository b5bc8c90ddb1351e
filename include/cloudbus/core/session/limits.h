// SPDX-License-Identifier: Apache-2.0
#pragma once

// Limits against floods: doc/protocol.md, section 7.

#include <algorithm>
#include <cstdint>

#include "cloudbus/core/base/time.h"

namespace cloudbus {

// Allows `burst` tokens at once, and `per_second` more each second.
class TokenBucket {
 public:
  constexpr TokenBucket(std::uint32_t burst, std::uint32_t per_second)
      : burst_(burst), per_second_(per_second), tokens_(burst) {}

  // False when no token remains: the limit was passed.
  bool take(Time now) {
    refill(now);
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

  void add(std::uint32_t tokens) { tokens_ = std::min<double>(burst_, tokens_ + tokens); }

 private:
  void refill(Time now) {
    if (now > last_ && last_ != Time{})
      tokens_ = std::min<double>(burst_, tokens_ + std::chrono::duration<double>(now - last_).count() * per_second_);
    last_ = now;
  }

  double burst_, per_second_, tokens_;
  Time last_{};
};

struct SessionLimits {
  std::uint32_t initial_window = 256 * 1024;      // bytes
  std::uint64_t max_streams = 32'768;             // open at once
  std::uint64_t max_unwritten = 8 * 1024 * 1024;  // bytes in the output, when the peer asks for answers and reads none
  std::uint64_t max_resume_window = 32 * 1024 * 1024;  // bytes kept for another link
  Duration handshake = std::chrono::seconds(5);
  Duration ping_after = std::chrono::seconds(5);  // of silence
  Duration ping_timeout = std::chrono::seconds(5);
};

}  // namespace cloudbus
