// SPDX-License-Identifier: Apache-2.0
#pragma once

// One run of the simulator. What is drawn from the seed and the order of things are in simulator.cc, the link and how
// it breaks in simulation_link.cc, what the applications do in simulation_applications.cc, and what must hold in
// simulation_checks.cc.

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cloudbus/core/session/session.h"
#include "core/pipe.h"
#include "core/require.h"
#include "core/simulator/one_to_one_relay.h"
#include "core/simulator/simulated_world.h"
#include "core/simulator/simulator.h"

namespace cloudbus {

class Simulation {
 public:
  Simulation(std::uint64_t seed, bool trace) : world_(seed, trace) {
    plan_link();
    plan_conversations();
  }

  SimulationResult run();

 private:
  struct Conversation {
    std::uint64_t key = 0;
    bool given_up = false;                    // never opened
    std::unique_ptr<OneToOneRelay> sides[2];  // of the client and of the server
    OneToOneRelay& side(int e) const { return *sides[e]; }
  };
  enum class Ending { Quiet, DrainBySegment, DrainByController, Cut, Close, BlackHole };

  struct End {
    End(Role end_role, std::uint64_t memory, const SessionLimits& end_limits, const Hello& hello, Time now)
        : role(end_role),
          limits(end_limits),
          budget(memory),
          session(std::make_unique<Session>(end_role, hello, end_limits, SimulatedWorld::slabs(), budget, now)) {}
    Role role;
    SessionLimits limits;
    Budget budget;
    std::unique_ptr<Session> session;
    std::unique_ptr<Session> fresh;  // of a new link, until that carries `session`
    bool is_attached = true;         // the link carries `session`
    std::size_t most_output = 0;     // bytes, before data waits
    Time last_heard{};
    bool dead = false;  // its link is gone, and its streams were told
  };

  template <typename... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) const {
    world_.say(format, std::forward<Args>(args)...);
  }

  static const char* name(int e) { return e == 0 ? "controller" : "segment"; }
  Session& session(int e) { return *ends_[e]->session; }
  // What the link carries at an end; null where it has ended.
  Session* carried(int e) { return ends_[e]->is_attached ? ends_[e]->session.get() : ends_[e]->fresh.get(); }
  bool both_live() const { return !ends_[0]->dead && !ends_[1]->dead; }

  // --- What is drawn from the seed ---

  void plan_link();
  // Links that break under sessions that are resumed.
  void plan_cuts();
  Hello hello(int e);
  void plan_conversations();
  void plan_side(OneToOneRelay& side);

  // --- Steps ---

  void step();
  bool act(std::uint64_t action);
  // Nothing can be done now: on to what happens next.
  void wait();

  // --- The link ---

  bool pump(int e);
  bool deliver(int e);
  void take(int e, Bytes input);

  // --- Resuming ---

  // The link of an end has ended: its session waits for another, or is lost.
  void end_link(int e);
  void cut_link();
  // What the segment still gets from a link that the controller has given up, before it knows of the next one.
  bool deliver_late();
  // The controller has made another link; the segment may not have noticed that the last one has ended.
  void relink();
  bool receive_fresh(int e, Bytes input);
  void resume_segment(const ResumeFrame& request, Bytes rest);
  void attach(int e, std::uint64_t position, Bytes answer, Bytes rest);
  // The session of an end is over, by itself or by its peer: that was meant to happen, or it did not.
  void on_closed(int e);
  // The end's link is gone; what it wrote may still arrive.
  void lose_link(int e);
  void begin_ending();
  void drain(int e);
  void close(int e, LinkCode code);
  // All streams have ended: a drain, and then CLOSE.
  void begin_quiet_end();
  bool all_over() const;
  static bool is_over(const Conversation& conversation, int e);

  // --- Events ---

  OneToOneRelay* find_side(int e, OwnerId owner);
  static OwnerId owner_of(int e, std::size_t index) { return (e == 0 ? 1'000 : 2'000) + index; }
  void on_event(int e, const Event& event);
  void on_stream_event(int e, const Event& event, OneToOneRelay& side, OneToOneRelay& other, std::uint64_t key);
  void on_opened(int e, const Event& event);
  static std::string service_of(std::size_t index) { return fmt::format("service {}", index); }
  void appear(int e, std::size_t index, StreamId stream);

  // --- Applications ---

  bool open();
  bool take_turn(int e);
  bool run_application(int e);
  // One thing that a side does now; false when there is none.
  bool live(int e, OneToOneRelay& side);
  bool only_stalled_left() const;
  // Commands that come once more, or too late, change nothing.
  bool repeat_command(int e);

  // --- What must hold ---

  void check();
  void check_stream(int e, const Stream& stream, OneToOneRelay& side);
  // What waits for its acknowledgement is bounded, and counted.
  void check_kept(int e);
  // `sender` and `receiver` are the two ends of a stream.
  void check_pair(const Stream& sender, const Stream* receiver);
  void check_end();
  void check_conversation(const Conversation& conversation) const;
  std::string unfinished() const;
  void summarize(SimulationResult& result) const;

  SimulatedWorld world_;
  std::uint64_t delivered_ = 0;
  std::uint64_t scale_ = 0, tick_ = 1, ends_at_ = kNever;
  std::size_t most_chunk_ = 1;
  Ending ending_ = Ending::Quiet;
  bool draining_ = false, closing_ = false, cut_ = false;
  bool was_established_[2] = {false, false};
  bool is_resumable_ = false;
  std::vector<std::uint64_t> cuts_;  // steps, the last one first
  Time relink_at_ = Time::max();
  bool is_on_old_link_ = false;  // the segment has not noticed
  Pipe old_pipe_;                // toward it
  std::uint64_t resumed_ = 0;
  LinkCode close_code_ = LinkCode::NoError;

  std::unique_ptr<End> ends_[2];  // the controller and the segment
  Pipe pipes_[2];                 // what each end writes
  std::vector<Conversation> conversations_;
};

}  // namespace cloudbus
