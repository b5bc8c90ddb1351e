// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/require.h"
#include "core/simulator/fanout_simulation.h"

namespace cloudbus {

// --- What must hold --------------------------------------------------------------------------------------------------

void FanoutSimulation::check() {
  std::uint64_t buffered = 0;
  for (auto& conversation : conversations_) {
    if (!conversation->relay) continue;
    conversation->relay->check();
    buffered += conversation->relay->buffered();
  }
  require(budget_.buffered() == buffered, "{} bytes are counted as buffered, but {} are", budget_.buffered(), buffered);
  for (auto& server : servers_) check_server(*server);
  for (auto& [id, link] : links_) check_buffered(*link);
}

void FanoutSimulation::check_buffered(const SimulatedLink& link) const {
  std::uint64_t buffered = 0;
  for (auto& server : servers_)
    if (server->link == link.id) buffered += server->flow().pending();
  require(link.budget.buffered() == buffered, "{} bytes of link {} are counted as buffered, but {} are",
          link.budget.buffered(), link.id, buffered);
}

void FanoutSimulation::check_server(const SimulatedServer& server) const {
  server.check();
  auto found = links_.find(server.link);
  if (found == links_.end() || found->second->is_dead(1)) return;
  const Stream* stream = found->second->ends[1].session->find(server.stream);
  require((stream != nullptr) == !server.over(), "stream {} is {}", server.stream, stream ? "still there" : "gone");
}

bool FanoutSimulation::is_over() const {
  auto has_ended = [](const auto& conversation) { return conversation->is_over; };
  auto is_idle = [](const auto& entry) { return entry.second->is_idle(); };
  return std::ranges::all_of(conversations_, has_ended) && std::ranges::all_of(links_, is_idle) &&
         std::ranges::all_of(servers_, [](const auto& server) { return server->is_done(); });
}

void FanoutSimulation::check_end() {
  for (auto& conversation : conversations_)
    if (conversation->rules) check_conversation(*conversation);
  servers_.clear();
  for (auto& [id, link] : links_) {
    for (auto& end : link->ends) {
      end.session.reset();
      end.fresh.reset();
    }
    check_budget(link->budget);
  }
  check_budget(budget_);
}

void FanoutSimulation::check_budget(Budget& budget) {
  require(budget.buffered() == 0, "{} bytes are still counted as buffered", budget.buffered());
  require(budget.kept() == 0, "{} bytes are still counted as kept", budget.kept());
  require(budget.reserve(budget.limit()), "windows did not give back what they reserved");
  budget.release(budget.limit());
}

void FanoutSimulation::check_conversation(const Conversation& conversation) const {
  const FanoutRules& rules = *conversation.rules;
  require(conversation.client.has_ended(), "{} never ended", conversation.client.name);
  std::size_t served = 0;
  for (const SimulatedServer* server : conversation.servers) {
    if (!server) continue;
    served += server->accepted && server->received > 0;
    const FanoutRules::Known& leg = rules.leg(server->leg);
    if (leg.is_gone() || server->lost || server->own_reset || !leg.was_finished || server->stopped) continue;
    require(server->fin_received && server->received == rules.read(), "leg {} of client {} never got all", server->leg,
            server->client);
  }
  require(served <= rules.most_legs(), "{} servers did the work of {}", served, rules.most_legs());
}

std::string FanoutSimulation::unfinished() const {
  std::string text;
  for (auto& conversation : conversations_) {
    if (conversation->is_over) continue;
    text += fmt::format("\n  {}, {}", conversation->client.describe(), name_of(conversation->plan.mode));
    if (!conversation->relay) continue;
    const Fanout& fanout = conversation->relay->fanout();
    for (LegId leg = 0; leg < fanout.leg_count(); leg++)
      text += fmt::format("\n    leg {}: state {} sent {} held {}", leg, static_cast<int>(fanout.leg(leg).state),
                          fanout.leg(leg).sent, fanout.leg(leg).held.size());
  }
  for (auto& server : servers_)
    if (!server->is_done()) text += "\n  " + server->describe();
  return text;
}

void FanoutSimulation::summarize(FanoutResult& result) const {
  result.fingerprint = world_.fingerprint;
  result.steps = world_.steps;
  result.up = up_;
  result.resumed = resumed_;
  for (auto& conversation : conversations_) {
    const SimulatedApplication& client = conversation->client;
    result.down += client.received;
    if (!conversation->rules) continue;
    const FanoutRules& rules = *conversation->rules;
    result.conversations++;
    result.clean_ends += client.fin_received && !client.was_reset;
    result.resets += client.was_reset;
    result.winners += rules.winner.has_value();
    result.losers += rules.had_loser;
    result.no_quorums += rules.had_no_quorum;
    result.replaced += rules.was_replaced;
    result.lagging += rules.was_lagging;
    result.waits += rules.was_waiting;
    result.lost_links += rules.was_cut;
  }
}

}  // namespace cloudbus
