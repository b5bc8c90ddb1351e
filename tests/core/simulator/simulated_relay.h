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
#include "core/simulator/simulated_client.h"
#include "core/simulator/simulated_link.h"

namespace cloudbus {

class SimulatedRelay {
 public:
  // The controller that it belongs to.
  class Host {
   public:
    virtual ~Host() = default;
    virtual Session* find_session(LinkId link) = 0;  // null once the link is gone
    virtual void open_leg(SimulatedRelay& relay, LegId leg, ServerIndex server) = 0;
  };
  struct Plan {
    Mode mode;
    FanoutLimits limits;
    std::vector<ServerIndex> order;
    Duration connect_timeout;
  };

  SimulatedRelay(Host& host, FanoutWorld& world, SimulatedClient& client, const Plan& plan, Budget& budget);

  std::size_t index() const { return client_.index; }
  OwnerId owner() const { return client_.index + 1; }
  bool is_closed() const { return stage_ == Stage::Closed; }
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

  void on_client_wrote();
  void on_client_read();
  void on_client_reset();

  Time next_deadline() const;
  void on_time();
  void check();

 private:
  enum class Stage { Waiting, Opening, Open, Closed };
  enum class Io { Done, Again, End, Broken, Deaf };
  struct Result {
    Io status;
    std::size_t bytes = 0;
  };
  struct LegStream {
    LinkId link = 0;
    StreamId id = 0;  // 0 is none
  };
  struct Piece {  // of a leg's answer
    LegId leg;
    std::uint64_t offset;
    std::size_t size;
  };

  template <typename... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) const {
    if (world_.trace) world_.say("client {} {}", client_.index, fmt::format(format, std::forward<Args>(args)...));
  }

  Session* session_of(LegId leg);
  void run_commands();
  void run(const Fanout::Command& command);
  void step();
  void deliver_from(LegId leg, iovec* parts, int count, std::size_t size);
  void deliver_held(LegId leg, std::size_t bytes);
  void give_credit(std::size_t bytes);
  bool fill_directly(Session& session, const Session::Quantum& quantum, LegId leg);
  void want();

  // As Relay does.
  Result read_some(iovec* parts, int count, std::size_t size);
  Result write(const iovec* parts, int count);
  void look(Bytes bytes);
  bool is_answer(LegId leg, std::uint64_t offset, Bytes bytes) const;
  bool can_read() const { return stage_ != Stage::Closed && !read_done_; }
  void after_read(Io status);
  void stop_reading();
  void deliver(iovec* parts, int count, std::size_t size);
  void write_now(iovec* parts, int count, std::size_t size);
  void write_pending();
  void drop_pending();
  void on_write_failed(Io status);
  void end_delivery();
  void finish_if_drained();
  void break_off();
  void reset_if_drained();
  void abort(StreamCode code);
  void abandon(StreamCode code);
  void close_if_done();
  void close_with_reset();
  void close();

  Host& host_;
  FanoutWorld& world_;
  SimulatedClient& client_;
  Budget& budget_;
  Duration connect_timeout_;
  Time started_;
  Fanout fanout_;
  FanoutRules rules_;
  std::vector<LegStream> streams_;
  std::deque<std::pair<LegId, std::size_t>> delivered_;  // bytes given to the socket, for which credit is due
  std::deque<Piece> expected_;                           // what the socket is to get next
  std::vector<std::uint64_t> queued_;                    // of them, by leg; kept for its memory
  ByteQueue pending_;
  Stage stage_ = Stage::Waiting;
  bool is_stepping_ = false, has_told_end_ = false, has_told_break_ = false;
  bool readable_ = true, writable_ = true, read_done_ = false, write_done_ = false, fin_received_ = false;
  bool broken_ = false, cut_ = false, reset_pending_ = false, has_end_code_ = false;
};

}  // namespace cloudbus
