// SPDX-License-Identifier: Apache-2.0
#pragma once

// One stream as a session keeps it: doc/protocol.md, sections 3 and 4. Its Session owns it by value. There may be very
// many idle streams, so a stream is small.

#include <cstdint>

#include "cloudbus/core/flow/window.h"
#include "cloudbus/core/session/scheduler.h"
#include "cloudbus/core/wire/frame.h"

namespace cloudbus {

// The owner of a stream at this end, by the number given to open() or adopt().
using OwnerId = std::uint64_t;

// One owner may have several streams, its legs 0, 1, … The upper bits have the number of the leg.
using LegId = std::uint32_t;
inline constexpr int kLegShift = 48;
constexpr OwnerId leg_owner(OwnerId owner, LegId leg) { return owner | OwnerId{leg} << kLegShift; }
constexpr OwnerId whole_owner(OwnerId leg_owner) { return leg_owner & ((OwnerId{1} << kLegShift) - 1); }
constexpr LegId leg_of(OwnerId leg_owner) { return static_cast<LegId>(leg_owner >> kLegShift); }

//   open --FIN--> finished
//   open --STOP--> stopped
enum class Direction : std::uint8_t { Open, Finished, Stopped };

struct Stream {
  Stream(OwnerId owner_id, std::int8_t priority, std::uint32_t own_window, std::uint32_t peer_window)
      : owner(owner_id), window(own_window), send_limit(peer_window), share{.priority = priority} {}

  OwnerId owner;
  ReceiveWindow window;
  std::uint64_t sent = 0;  // bytes of DATA
  std::uint64_t send_limit;
  [[no_unique_address]] Scheduler::Share share;  // the next members use its padding
  Direction sending = Direction::Open;
  Direction receiving = Direction::Open;
  bool accepted = false;
  bool wants = false;   // the owner has bytes to send
  bool queued = false;  // it is in the scheduler

  std::uint64_t credit() const { return send_limit - sent; }
  bool is_over() const { return sending != Direction::Open && receiving != Direction::Open; }
};

}  // namespace cloudbus
