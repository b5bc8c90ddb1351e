// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "cloudbus/core/base/time.h"
#include "cloudbus/core/flow/byte_queue.h"
#include "cloudbus/core/session/stream.h"
#include "cloudbus/core/wire/codes.h"

namespace cloudbus {

inline constexpr std::uint64_t kNever = ~std::uint64_t{0};

// The application at one side of a conversation: what it means to do, and how far it came.
struct Side {
  // --- Plan ---
  std::uint64_t to_send = 0, burst = 1;
  std::uint64_t reset_after = kNever, stop_after = kNever;  // bytes that moved, bytes that were read
  bool waits_for_fin = false, waits_for_bytes = false;      // before it sends
  bool refuses = false;
  bool stalled = false;                     // reads nothing before all others have ended
  Duration pause{};                         // now and then, before it reads or writes
  StreamCode code = StreamCode::Cancelled;  // of its reset, stop or refusal

  // --- State ---
  bool exists = false;
  StreamId stream = 0;
  OwnerId owner = 0;
  bool accepted = false, released = false;
  std::uint64_t sent = 0, ready = 0;
  bool finished = false, stopped_by_peer = false;
  std::uint64_t received = 0, consumed = 0;
  bool fin_received = false, stopped = false;
  bool was_reset = false, own_reset = false, lost = false;
  std::unique_ptr<ByteQueue> pending;
  Time not_before{};
  std::uint64_t most_window = 0;

  bool sending_done() const { return finished || stopped_by_peer; }
  bool receiving_done() const { return fin_received || stopped; }
  bool over() const { return was_reset || own_reset || lost || (sending_done() && receiving_done()); }
};

struct Conversation {
  std::uint64_t key = 0;
  bool given_up = false;  // never opened
  Side sides[2];
};

}  // namespace cloudbus
