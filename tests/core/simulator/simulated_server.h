// SPDX-License-Identifier: Apache-2.0
#pragma once

// A server and its relay in a segment, for one leg of a client.

#include <string>

#include "core/simulator/fanout_world.h"
#include "core/simulator/one_to_one_relay.h"

namespace cloudbus {

struct SimulatedServer final : OneToOneRelay {
  // For a stream that was opened on link `its_link`, of leg `its_leg` of client `its_client`.
  SimulatedServer(FanoutWorld& world, Budget& budget, std::uint64_t its_link, std::size_t its_client, LegId its_leg);

  Time accepts_at{};
  std::uint64_t link;
  std::size_t client;
  LegId leg;

  // One thing that it does now; false when there is none. The session is null once its link is gone.
  bool act(Session* session);
  Time next_event() const;

  bool is_done() const { return is_closed() && released; }
  bool is_frame_end(std::uint64_t offset) const;
  // The end of the last frame that is complete with so many bytes.
  std::uint64_t whole_frames(std::uint64_t bytes) const;

 private:
  FanoutWorld& world_;
};

}  // namespace cloudbus
