// SPDX-License-Identifier: Apache-2.0
#pragma once

// What must hold for one client and its legs: told everything that happens to them, it says whether it may happen. It
// knows of Fanout only what is seen from outside.

#include <cstdint>
#include <optional>
#include <vector>

#include "cloudbus/core/base/time.h"
#include "cloudbus/core/fanout/fanout.h"
#include "core/simulator/simulated_server.h"

namespace cloudbus {

class FanoutRules {
 public:
  struct Known {
    ServerIndex server;
    const SimulatedServer* reached = nullptr;  // once its segment knows the stream
    bool has_stream = false, accepted = false;
    bool fin = false, stopped = false;             // by the server
    bool was_finished = false, was_muted = false;  // by us: FIN, STOP
    bool lost = false, dropped = false;
    bool was_waited_for = false;  // since it has fallen behind
    StreamCode code = StreamCode::Cancelled;
    std::uint64_t sent = 0;                    // of the client's bytes
    std::uint64_t arrived = 0, delivered = 0;  // of the server's bytes: delivered to the client's socket or its queue
    std::uint64_t credited = 0;
    std::uint64_t first_arrival = 0;  // counts up with each leg that answers

    bool is_gone() const { return lost || dropped; }
    bool takes() const { return !is_gone() && !stopped && !was_finished; }
  };

  FanoutRules(Mode mode, const FanoutLimits& limits, std::size_t servers);

  const Known& leg(LegId id) const { return legs_.at(id); }
  LegId leg_count() const { return static_cast<LegId>(legs_.size()); }
  bool is_open() const { return open_; }
  std::size_t most_legs() const { return most_legs_; }
  std::uint64_t read() const { return read_; }
  bool has_fin() const { return fin_; }

  // --- The legs ---
  void on_begun(LegId id, ServerIndex server);
  void on_stream(LegId id);
  void on_reached(LegId id, const SimulatedServer& its_server) { legs_.at(id).reached = &its_server; }
  void on_accepted(LegId id);
  void on_arrived(LegId id, std::size_t bytes);
  void on_fin(LegId id);
  void on_stopped(LegId id);
  // Whether another server has to take its place.
  bool on_lost(LegId id, StreamCode code, bool is_all_kept);
  void on_finished(LegId id);
  void on_muted(LegId id);
  void on_dropped(LegId id, StreamCode code);
  void on_connect_timeout();

  // --- The client ---
  void on_read(std::size_t bytes);
  void on_client_fin() { fin_ = true; }
  void on_client_deaf() { deaf_ = true; }
  void on_abandoned() { abandoned_ = true; }
  void on_sent(LegId id, std::size_t bytes);
  void on_delivered(LegId id, std::size_t bytes);
  void on_credited(LegId id, std::size_t bytes);
  void on_told_fin() const;
  void on_told_break(StreamCode code) const;
  void on_told_stop(StreamCode code) const;

  // --- At every step ---
  // After Fanout::on_sent.
  void check_lag(const Fanout& fanout, bool memory_is_short) const;
  // When all that followed from an event has been done. `queued` bytes of each leg wait for the client's socket.
  void check(const Fanout& fanout, const std::vector<std::uint64_t>& queued, Time now);
  // When the conversation is over.
  void check_end() const;

  // What happened, for those who ask whether everything does.
  bool was_replaced = false, was_lagging = false, was_waiting = false, was_cut = false, had_no_quorum = false,
       had_loser = false;
  std::optional<LegId> winner;

 private:
  bool discards() const { return mode_ == Mode::Publish; }
  bool has_ended(const Known& leg) const;
  bool is_alive(const Known& leg) const { return !leg.is_gone() && !has_ended(leg); }
  std::size_t count_left() const;
  bool has_quorum() const { return count_left() >= limits_.quorum; }
  bool may_be_broken() const;
  void check_leg(const Fanout& fanout, LegId id, std::uint64_t queued) const;
  void check_dropped(LegId id, std::uint64_t front, std::uint64_t most) const;
  void check_kept(const Fanout& fanout);
  void check_latch(const Fanout& fanout) const;
  void check_waiting(const Fanout& fanout, Time now);

  Mode mode_;
  FanoutLimits limits_;
  std::size_t servers_, most_legs_;
  std::size_t replaceable_ = 0;  // legs that were lost before a server had them
  std::vector<Known> legs_;
  std::optional<LegId> last_delivered_;
  std::uint64_t arrivals_ = 0, read_ = 0;
  bool open_ = false, fin_ = false, deaf_ = false, abandoned_ = false, timed_out_ = false;
  bool keeps_all_ = true;
  Time waits_since_{};
  bool waits_ = false;
  std::vector<std::uint64_t> sent_then_;  // by the legs, when the wait began
};

}  // namespace cloudbus
