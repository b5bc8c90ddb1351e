// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a controller does for one client with a Fanout, without sockets, links and timers: the same calls in the same
// order as ClientRelay.

#include <deque>
#include <utility>
#include <vector>

#include "cloudbus/core/fanout/fanout.h"
#include "cloudbus/core/session/session.h"
#include "core/simulator/fanout_rules.h"
#include "core/simulator/fanout_world.h"
#include "core/simulator/simulated_link.h"
#include "core/simulator/simulated_relay.h"

namespace cloudbus {

class FanoutRelay final : public SimulatedRelay {
 public:
  // The controller that it belongs to.
  class Host {
   public:
    virtual ~Host() = default;
    virtual Session* find_session(LinkId link) = 0;  // null once the link is gone
    virtual void open_leg(FanoutRelay& relay, LegId leg, ServerIndex server) = 0;
  };
  struct Plan {
    Mode mode;
    FanoutLimits limits;
    std::vector<ServerIndex> order;
    Duration connect_timeout;
  };

  FanoutRelay(Host& host, FanoutWorld& world, SimulatedApplication& client, std::size_t index, const Plan& plan,
              Budget& budget);

  std::size_t index() const { return index_; }
  OwnerId owner() const { return index_ + 1; }
  const Fanout& fanout() const { return fanout_; }
  FanoutRules& rules() { return rules_; }
  const FanoutRules& rules() const { return rules_; }
  std::uint64_t buffered() const;  // as it is counted against the budget

  void start() { step(); }
  bool is_waiting(LegId leg) const { return !is_closed() && fanout_.leg(leg).state == LegState::Waiting; }
  void open_leg_on(LegId leg, LinkId link, Session& session);

  void on_accepted(LegId leg);
  void on_data(LegId leg, iovec* parts, int count, std::size_t size, std::size_t part);
  void on_finished(LegId leg);
  void on_stopped(LegId leg, StreamCode code);
  void on_reset(LegId leg, StreamCode code);
  // Whether anything moved.
  bool fill(Session& session, const Session::Quantum& quantum, LegId leg);

  Time next_deadline() const override;
  void on_time() override;
  void check();

 private:
  struct LegStream {
    LinkId link = 0;
    StreamId id = 0;  // 0 is none
  };
  struct Piece {  // of a leg's answer
    LegId leg;
    std::uint64_t offset;
    std::size_t size;
  };

  void want() override;
  void finish_stream() override;
  void stop_stream(StreamCode code) override;
  void reset_stream(StreamCode code) override;
  void give_credit(std::size_t bytes) override;
  bool is_stream_over() const override { return fanout_.is_over(); }
  void on_read(std::size_t bytes) override { rules_.on_read(bytes); }
  void on_taken(Bytes bytes) override;
  void on_close() override;

  Session* session_of(LegId leg);
  void run_commands();
  void run_command(const Fanout::Command& command);
  void step();
  void deliver_from(LegId leg, iovec* parts, int count, std::size_t size);
  void deliver_held(LegId leg, std::size_t bytes);
  bool fill_directly(Session& session, const Session::Quantum& quantum, LegId leg);
  bool is_answer(LegId leg, std::uint64_t offset, Bytes bytes) const;

  Host& host_;
  std::size_t index_;
  Duration connect_timeout_;
  Time started_;
  Fanout fanout_;
  FanoutRules rules_;
  std::vector<LegStream> streams_;
  std::deque<std::pair<LegId, std::size_t>> delivered_;  // bytes given to the socket, for which credit is due
  std::deque<Piece> expected_;                           // what the socket is to get next
  std::vector<std::uint64_t> queued_;                    // of them, by leg; kept for its memory
  bool is_stepping_ = false, has_told_end_ = false, has_told_break_ = false;
};

}  // namespace cloudbus
