// SPDX-License-Identifier: Apache-2.0
#pragma once

// One end of a stream: an application, its relay, and what they said of the stream.

#include <string>
#include <vector>

#include "cloudbus/core/session/session.h"
#include "core/simulator/simulated_application.h"
#include "core/simulator/simulated_relay.h"

namespace cloudbus {

class OneToOneRelay : public SimulatedRelay {
 public:
  OneToOneRelay(SimulatedWorld& world, Flow::Side near, Budget& budget, std::string name);

  SimulatedApplication application;

  // --- Plan ---
  std::uint64_t abort_after = kNever;       // bytes that moved: it is given up, as it is when a time is over
  StreamCode code = StreamCode::Cancelled;  // of that, or of a refusal
  bool refuses = false;
  bool stalled = false;  // reads nothing before all others have ended

  // --- What is known of the stream ---
  bool exists = false;
  StreamId stream = 0;
  OwnerId owner = 0;
  bool accepted = false, released = false;
  std::uint64_t sent = 0;
  bool finished = false, stopped_by_peer = false;
  std::uint64_t received = 0, consumed = 0;
  bool fin_received = false, stopped = false;
  bool was_reset = false, own_reset = false, lost = false;
  StreamCode stop_code = StreamCode::Cancelled, reset_code = StreamCode::Cancelled;  // of its own
  std::vector<std::uint64_t> frame_ends;                                             // where in what it sent
  std::uint64_t most_window = 0;                                                     // as was seen

  bool sending_done() const { return finished || stopped_by_peer; }
  bool receiving_done() const { return fin_received || stopped; }
  bool over() const { return was_reset || own_reset || lost || (sending_done() && receiving_done()); }

  // `key` is that of what the other side's application sends. The session outlives the relay, or on_lost() comes first.
  void start(Session& session, StreamId its_stream, OwnerId its_owner, std::uint64_t key);
  // Segment: the server is connected, or cannot be.
  void accept();
  void refuse() { abort(code); }

  // --- What the session says ---
  void on_accepted();
  void on_data(Bytes bytes);
  void on_finished();
  void on_stopped(StreamCode its_code);
  void on_reset(StreamCode its_code);
  void on_lost();
  // The session is gone, and the stream was over before.
  void leave_session() { session_ = nullptr; }
  // Whether anything moved.
  bool fill(const Session::Quantum& quantum);

  // One thing that the application does now, or the relay by itself; false when there is none.
  bool act();
  void check() const { check_credit(); }
  std::string describe() const;

 private:
  void want() override;
  void finish_stream() override;
  void stop_stream(StreamCode its_code) override;
  void reset_stream(StreamCode its_code) override;
  void give_credit(std::size_t bytes) override;
  void on_taken(Bytes bytes) override;
  void on_close() override {}

  Session* session_ = nullptr;
  std::uint64_t peer_key_ = 0;
};

}  // namespace cloudbus
