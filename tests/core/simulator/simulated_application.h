// SPDX-License-Identifier: Apache-2.0
#pragma once

// A client or a server, and the socket between it and its relay: what it means to do, and how far it came.

#include <string>

#include "core/simulator/simulated_world.h"

namespace cloudbus {

class SimulatedRelay;

struct SimulatedApplication {
  static constexpr std::uint64_t kSocketBuffer = 300'000;  // bytes that it may write before they are read

  SimulatedApplication(SimulatedWorld& world, std::string its_name) : name(std::move(its_name)), world_(world) {}

  // --- Plan ---
  std::string name;
  std::uint64_t key = 0;  // of what it sends
  std::uint64_t to_send = 0, burst = 1;
  std::size_t buffer = 1;                                   // bytes that its socket takes before it reads
  bool is_unix = false;                                     // its socket; only there it can read no more
  std::uint64_t reset_after = kNever, deaf_after = kNever;  // bytes that moved, bytes that were read
  bool waits_for_bytes = false, waits_for_fin = false;      // before it sends
  bool waits_for_end = false;                               // before it says that it has sent all
  bool never_ends_alone = false;                            // with nothing to say, it waits for the other side's end
  Time gives_up_at{};                                       // it waits until then
  Duration pause{};                                         // now and then
  Time stalled_until{};                                     // until then it reads nothing

  // --- State ---
  std::uint64_t sent = 0, taken = 0;  // bytes that it wrote, and of them those that were read from its socket
  bool fin_sent = false;
  std::uint64_t received = 0, bytes_read = 0;  // bytes that its socket took, and of them those that it read
  bool fin_received = false, was_reset = false;
  bool has_reset = false, is_deaf = false;
  Time not_before{};

  // One thing that it does now; false when there is none.
  bool act(SimulatedRelay& relay);

  std::size_t space() const { return buffer - static_cast<std::size_t>(received - bytes_read); }
  // It has, or its kernel has, all that was written.
  bool has_all() const { return is_unix || bytes_read == received; }
  bool has_ended() const { return was_reset || has_reset || (fin_received && fin_sent); }
  std::string describe() const;

 private:
  bool reset(SimulatedRelay& relay);
  bool read(SimulatedRelay& relay);
  bool write(SimulatedRelay& relay);
  bool waits() const;
  void send_some();

  SimulatedWorld& world_;
};

}  // namespace cloudbus
