// SPDX-License-Identifier: Apache-2.0
#pragma once

// What stands behind a segment, for one leg of a client: what it means to do, and how far it came.

#include <string>
#include <vector>

#include "cloudbus/core/session/session.h"
#include "core/simulator/conversation.h"
#include "core/simulator/fanout_world.h"

namespace cloudbus {

struct SimulatedServer : Side {
  // For a stream that was opened. `link`: the one it came on.
  SimulatedServer(FanoutWorld& world, std::uint64_t link);

  // --- Plan ---
  std::uint64_t key = 0;  // of what it sends
  Time accepts_at{}, stalled_until{};

  // --- State ---
  std::uint64_t link;
  std::size_t client = 0;  // whose leg it is
  LegId leg = 0;
  std::vector<std::uint64_t> frame_ends;  // where in what it sent

  // One thing that it does now; false when there is none.
  bool act(Session& session);
  void fill(Session& session, const Session::Quantum& quantum);

  bool is_done() const { return over() && released; }
  bool is_frame_end(std::uint64_t offset) const;
  // The end of the last frame that is complete with so many bytes.
  std::uint64_t whole_frames(std::uint64_t bytes) const;
  std::string describe() const;

 private:
  bool answer(Session& session);
  bool read(Session& session);
  bool write(Session& session);
  void reset(Session& session);
  bool wind_up(Session& session);
  void take_pending(Session& session, std::size_t bytes);

  FanoutWorld& world_;
};

}  // namespace cloudbus
