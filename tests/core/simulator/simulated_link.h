// SPDX-License-Identifier: Apache-2.0
#pragma once

// A link between a controller and the segment of one server: two sessions, and a pipe each way between them. Where the
// sessions outlive it, another link follows a link that breaks, as it does with Peer and Resumer.

#include <functional>
#include <memory>
#include <vector>

#include "cloudbus/core/policy/balance.h"
#include "cloudbus/core/session/session.h"
#include "core/pipe.h"
#include "core/simulator/fanout_world.h"

namespace cloudbus {

using LinkId = std::uint64_t;

struct SimulatedLink {
  enum class Fate { None, Cut, Close, Drain, BlackHole };
  struct End {
    std::unique_ptr<Session> session;  // null once it is lost
    std::unique_ptr<Session> fresh;    // of a new link, until that carries `session`
    bool is_attached = true;           // the link carries `session`
    Pipe pipe;                         // what it writes
    std::size_t most_output = 0;       // bytes, before data waits
  };
  using OnEvent = std::function<void(const Event&)>;

  // `memory` is the controller's.
  SimulatedLink(FanoutWorld& world, LinkId number, ServerIndex its_server, Budget& memory);

  LinkId id;
  ServerIndex server;
  Budget budget;  // of the segment
  End ends[2];    // the controller's and the segment's
  Fate fate = Fate::None;
  std::uint64_t fate_at = kNever;  // the step
  bool cut = false, closing = false, draining = false;
  std::uint64_t resumed = 0;  // times

  bool is_dead(int e) const { return !ends[e].session; }
  bool is_idle() const;

  // Writes some of the output of an end.
  bool pump(int e);
  // Takes what has arrived at an end: false when there is nothing. The data of the events lasts until the next call.
  bool receive(int e, const OnEvent& on_event);
  // The next stream of an end that may send.
  std::optional<Session::Quantum> next_quantum(int e);
  // Nothing more comes to this end.
  bool has_ended(int e) const { return carried(e) && ends[1 - e].pipe.size() == 0 && ends[1 - e].pipe.ended; }
  // Its fate is met: the ends that notice at once.
  std::vector<int> meet_fate();
  // Whether the session of an end may be closed.
  void check_closed(int e) const;
  // The end's session is lost; what it wrote may still arrive. It is no more: whoever touches it is found out. The
  // owners of its streams.
  std::vector<OwnerId> lose(int e);
  Time next_event() const;

  // --- Resuming ---

  // The session of this end waits for another link when this one breaks.
  bool may_wait(int e) const;
  void detach(int e);
  // Time passes. The ends whose sessions are lost.
  std::vector<int> on_time();

 private:
  Session* carried(int e) const { return ends[e].is_attached ? ends[e].session.get() : ends[e].fresh.get(); }
  Hello hello(int e);
  void write(Output& output, Pipe& pipe, std::size_t most);
  void take(int e, Bytes input, const OnEvent& on_event);
  void plan_cuts();
  void cut_pipes();
  // The controller has made another link; the segment may not have noticed that the last one has ended.
  void relink();
  // What the segment still gets from a link that the controller has given up.
  bool receive_late(const OnEvent& on_event);
  void receive_fresh(int e, Bytes input, const OnEvent& on_event);
  void resume_segment(const ResumeFrame& request, Bytes rest, const OnEvent& on_event);
  void attach(int e, std::uint64_t position, Bytes answer, Bytes rest, const OnEvent& on_event);

  FanoutWorld& world_;
  Budget& memory_;
  SessionLimits limits_;
  bool is_resumable_;
  std::vector<std::byte> arrived_;
  std::vector<std::uint64_t> cuts_;  // steps, the last one first
  Time relink_at_ = Time::max();
  bool is_on_old_link_ = false;  // the segment has not noticed
  Pipe old_pipe_;                // toward it
};

}  // namespace cloudbus
