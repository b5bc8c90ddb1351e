// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "conversation.h"

namespace cloudbus {

// The client of a fan-out and its socket: what it means to do, and how far it came.
struct Client {
  // --- Plan ---
  std::uint64_t key = 0;  // of what it sends
  std::uint64_t to_send = 0, burst = 1;
  std::size_t buffer = 1;                                   // bytes that its socket takes before it reads
  std::uint64_t reset_after = kNever, deaf_after = kNever;  // bytes that moved, bytes that were read
  bool waits_for_bytes = false;                             // before it sends
  bool waits_for_end = false;                               // before it says that it has sent all
  Duration patience{};                                      // with which it waits for either
  Duration pause{};                                         // now and then
  Time stalled_until{};                                     // until then it reads nothing

  // --- State ---
  std::uint64_t sent = 0, taken = 0;  // bytes that it wrote, and of them those that were read from its socket
  bool fin_sent = false;
  std::uint64_t received = 0, read = 0;  // bytes that its socket took, and of them those that it read
  bool fin_received = false, was_reset = false;
  bool has_reset = false, is_deaf = false;
  Time not_before{}, gives_up_at{};

  std::size_t space() const { return buffer - static_cast<std::size_t>(received - read); }
  bool is_over() const { return has_reset || was_reset || (fin_received && fin_sent && read == received); }
};

// What stands behind a segment, for one leg.
struct Backend : Side {
  std::size_t conversation = 0;
  LegId leg = 0;
  std::uint64_t link = 0, key = 0;
  Time accepts_at{}, stalled_until{};
  std::vector<std::uint64_t> frame_ends;  // where in what it sent

  bool is_frame_end(std::uint64_t offset) const {
    return offset == 0 || std::ranges::binary_search(frame_ends, offset);
  }
  // The end of the last frame that is complete with so many bytes.
  std::uint64_t whole_frames(std::uint64_t bytes) const {
    auto after = std::ranges::upper_bound(frame_ends, bytes);
    return after == frame_ends.begin() ? 0 : *std::prev(after);
  }
};

}  // namespace cloudbus
