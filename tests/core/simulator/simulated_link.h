// SPDX-License-Identifier: Apache-2.0
#pragma once

// A link between a controller and the segment of one server: two sessions, and a pipe each way between them.

#include <functional>
#include <memory>
#include <vector>

#include "cloudbus/core/policy/balance.h"
#include "cloudbus/core/session/session.h"
#include "core/pipe.h"
#include "core/simulator/conversation.h"
#include "core/simulator/fanout_world.h"

namespace cloudbus {

using LinkId = std::uint64_t;

struct SimulatedLink {
  enum class Fate { None, Cut, Close, Drain, BlackHole };
  struct End {
    std::unique_ptr<Session> session;  // null once its link is gone
    Pipe pipe;                         // what it writes
    std::size_t most_output = 0;       // bytes, before data waits
  };

  // `memory` is the controller's.
  SimulatedLink(FanoutWorld& world, LinkId number, ServerIndex its_server, Budget& memory);

  LinkId id;
  ServerIndex server;
  Budget budget;  // of the segment
  End ends[2];    // the controller's and the segment's
  Fate fate = Fate::None;
  std::uint64_t fate_at = kNever;  // the step
  bool cut = false, closing = false, draining = false;

  bool is_dead(int e) const { return !ends[e].session; }
  bool is_idle() const;

  // Writes some of the output of an end.
  bool pump(int e);
  // Takes what has arrived at an end: false when there is nothing. The data of the events lasts until the next call.
  bool receive(int e, const std::function<void(const Event&)>& on_event);
  // The next stream of an end that may send.
  std::optional<Session::Quantum> next_quantum(int e);
  // Nothing more comes to this end.
  bool has_ended(int e) const { return ends[1 - e].pipe.size() == 0 && ends[1 - e].pipe.ended; }
  // Its fate is met: the ends that notice at once.
  std::vector<int> meet_fate();
  // Whether the session of an end may be closed.
  void check_closed(int e) const;
  // The end's link is gone; what it wrote may still arrive. Its session is no more: whoever touches it is found out.
  // The owners of its streams.
  std::vector<OwnerId> lose(int e);
  Time next_event() const;

 private:
  void write(Output& output, Pipe& pipe, std::size_t most);

  FanoutWorld& world_;
  std::vector<std::byte> arrived_;
};

}  // namespace cloudbus
