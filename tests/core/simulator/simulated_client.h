// SPDX-License-Identifier: Apache-2.0
#pragma once

// The client of a fan-out and its socket: what it means to do, and how far it came.

#include <string>

#include "core/simulator/conversation.h"
#include "core/simulator/fanout_world.h"

namespace cloudbus {

class SimulatedRelay;

struct SimulatedClient {
  static constexpr std::uint64_t kSocketBuffer = 300'000;  // bytes that it may write before they are read

  SimulatedClient(FanoutWorld& world, std::size_t number);

  // --- Plan ---
  std::size_t index;
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
  std::uint64_t received = 0, bytes_read = 0;  // bytes that its socket took, and of them those that it read
  bool fin_received = false, was_reset = false;
  bool has_reset = false, is_deaf = false;
  Time not_before{}, gives_up_at{};

  // One thing that it does now; false when there is none.
  bool act(SimulatedRelay& relay);

  std::size_t space() const { return buffer - static_cast<std::size_t>(received - bytes_read); }
  bool has_ended() const { return was_reset || has_reset || (fin_received && fin_sent); }
  std::string describe() const;

 private:
  bool reset(SimulatedRelay& relay);
  bool read(SimulatedRelay& relay);
  bool write(SimulatedRelay& relay);

  FanoutWorld& world_;
};

}  // namespace cloudbus
