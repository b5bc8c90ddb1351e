// SPDX-License-Identifier: Apache-2.0
#pragma once

// One run of the simulator of fan-outs. What is drawn from the seed and the order of things are in fanout_simulator.cc,
// the links with the controller and the segments at their ends in fanout_simulation_links.cc, and what must hold in
// fanout_simulation_checks.cc and fanout_rules.h.

#include <fmt/format.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/simulator/fanout_relay.h"
#include "core/simulator/fanout_rules.h"
#include "core/simulator/fanout_simulator.h"
#include "core/simulator/fanout_world.h"
#include "core/simulator/simulated_application.h"
#include "core/simulator/simulated_link.h"
#include "core/simulator/simulated_server.h"

namespace cloudbus {

class FanoutSimulation final : public FanoutRelay::Host {
 public:
  FanoutSimulation(std::uint64_t seed, bool trace);
  FanoutResult run();

 private:
  // Where a server's link is to be.
  struct Slot {
    LinkId link = 0;
    bool is_down = false, is_lost = false;  // for now, for ever
    Time dial_at{};
    std::vector<std::pair<std::size_t, LegId>> waiting;  // legs of conversations
  };
  struct Conversation {
    Conversation(FanoutWorld& world, std::size_t index) : client(world, fmt::format("client {}", index)) {}
    SimulatedApplication client;
    Duration patience{};  // with which it waits for the other side
    FanoutRelay::Plan plan;
    std::uint64_t starts_at = 0;  // the step
    Time gives_up_at{};
    bool has_started = false, is_over = false;
    std::unique_ptr<FanoutRelay> relay;
    std::vector<SimulatedServer*> servers;  // by leg
    std::optional<FanoutRules> rules;       // of the relay that was
  };

  Random& random() { return world_.random; }

  // --- What is drawn from the seed ---

  void plan_conversation(std::size_t index);
  void plan_client(Conversation& conversation);

  // --- Steps ---

  void step();

  static constexpr std::uint64_t kLinkActions = 8;

  bool act(std::uint64_t action);
  // Nothing can be done now: on to what happens next.
  void wait();
  // Relays that are closed leave nothing behind.
  void reap();

  // --- Links ---

  void dial(ServerIndex server);
  void look_at(SimulatedLink& link);
  // The link has ended for this end, whose session may go on.
  void break_link(SimulatedLink& link, int e);
  bool deliver(SimulatedLink& link, int e);
  void lose(SimulatedLink& link, int e);
  void lose_servers(SimulatedLink& link, const std::vector<OwnerId>& owners);

  // --- The controller ---

  Session* find_session(LinkId id) override;
  // The link of a server, when it takes one more stream.
  SimulatedLink* pick(ServerIndex server);
  void open_leg(FanoutRelay& relay, LegId leg, ServerIndex server) override;
  void serve_waiting(ServerIndex server);
  void give_up_legs(ServerIndex server);
  std::size_t index_of(const Conversation& conversation) const;
  FanoutRelay* find_relay(OwnerId owner);
  // Data of one leg is handed on in runs, as Worker does.
  void dispatch(SimulatedLink& link, const Event& event);
  void add_to_run(OwnerId leg, Bytes part, bool ends_frame);
  void flush_run();
  bool take_turn(SimulatedLink& link);
  bool start(Conversation& conversation);
  // There are not enough servers: perhaps later.
  bool give_up(Conversation& conversation);

  // --- Segments ---

  SimulatedServer& server_of(OwnerId owner) { return *servers_.at(static_cast<std::size_t>(owner) - 1); }
  static const FanoutRules& rules_of(const Conversation& conversation);
  void on_segment_event(SimulatedLink& link, const Event& event);
  void on_opened(SimulatedLink& link, const Event& event);
  bool run_servers(SimulatedLink& link);
  bool take_server_turn(SimulatedLink& link);

  // --- What must hold ---

  void check();
  void check_buffered(const SimulatedLink& link) const;
  void check_server(const SimulatedServer& server) const;
  bool is_over() const;
  void check_end();
  static void check_budget(Budget& budget);
  // A leg that ended cleanly has carried everything, and no more servers did the work than there are to be.
  void check_conversation(const Conversation& conversation) const;
  std::string unfinished() const;
  void summarize(FanoutResult& result) const;

  FanoutWorld world_;
  Budget budget_;  // of the controller
  LinkId next_link_ = 1;
  std::map<LinkId, std::unique_ptr<SimulatedLink>> links_;
  std::vector<Slot> slots_;                                // by server
  std::vector<std::unique_ptr<SimulatedServer>> servers_;  // one for each stream that reached a segment
  std::vector<std::unique_ptr<Conversation>> conversations_;
  std::uint64_t up_ = 0;       // bytes
  std::uint64_t resumed_ = 0;  // links

  std::vector<iovec> run_;
  OwnerId run_leg_ = 0;
  std::size_t run_size_ = 0, run_part_ = 0;
};

}  // namespace cloudbus
