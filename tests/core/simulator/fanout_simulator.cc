// SPDX-License-Identifier: Apache-2.0
#include "core/simulator/fanout_simulator.h"

#include <algorithm>
#include <stdexcept>

#include "core/require.h"
#include "core/simulator/fanout_simulation.h"

namespace cloudbus {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kMostSteps = 400'000;
constexpr Duration kStuck = seconds(60);  // without progress, while pings go back and forth

}  // namespace

FanoutSimulation::FanoutSimulation(std::uint64_t seed, bool trace)
    : world_(seed, trace), budget_((world_.plan(), world_.memory)) {
  slots_.resize(random().pick<std::size_t>({1, 2, 2, 3, 3, 3, 4, 5, 6}));
  for (ServerIndex server = 0; server < slots_.size(); server++) dial(server);
  auto conversations = random().pick<std::size_t>({1, 1, 2, 3});
  for (std::size_t i = 0; i < conversations; i++) plan_conversation(i);
}

FanoutResult FanoutSimulation::run() {
  FanoutResult result{};
  try {
    while (!is_over()) {
      world_.steps++;
      if (world_.steps == kMostSteps) require(false, "no end in sight: {} steps; {}", kMostSteps, unfinished());
      step();
      check();
    }
    check_end();
  } catch (const std::runtime_error& broken) {
    result.error = broken.what();
  }
  summarize(result);
  return result;
}

// --- What is drawn from the seed -------------------------------------------------------------------------------------

void FanoutSimulation::plan_conversation(std::size_t index) {
  auto& conversation = *conversations_.emplace_back(std::make_unique<Conversation>(world_, index));
  plan_client(conversation);
  auto servers = static_cast<std::uint32_t>(slots_.size());
  FanoutRelay::Plan& plan = conversation.plan;
  plan.mode = random().pick(
      {Mode::HalfDuplex, Mode::HalfDuplex, Mode::FullDuplex, Mode::FullDuplex, Mode::Publish, Mode::Balance});
  if (random().chance(40)) plan.limits.legs = 1 + static_cast<std::uint32_t>(random().below(servers));
  std::uint32_t legs = plan.limits.legs == 0 ? servers : plan.limits.legs;
  if (plan.mode == Mode::Balance) legs = 1;
  if (random().chance(50)) plan.limits.quorum = 1 + static_cast<std::uint32_t>(random().below(legs));
  plan.limits.lag = random().pick<std::uint64_t>({1'000, 20'000, 64 * 1024, 64 * 1024, 256 * 1024, 16 << 20});
  if (world_.uploads > 1 && random().chance(60)) plan.limits.lag = 16 << 20;
  plan.connect_timeout = random().pick<Duration>({milliseconds(5), milliseconds(300), seconds(5), seconds(5)});
  conversation.starts_at = random().size(400);
  world_.say("client {}: {}, fanout {}, quorum {}, lag {}, sends {}", index, name_of(plan.mode), plan.limits.legs,
             plan.limits.quorum, plan.limits.lag, conversation.client.to_send);
}

void FanoutSimulation::plan_client(Conversation& conversation) {
  SimulatedApplication& client = conversation.client;
  std::uint64_t scale = world_.scale;
  client.key = random().below(Content::kPeriod);
  client.to_send = random().chance(10) ? 0 : random().size(scale * world_.uploads);
  client.burst = scale / 100 + random().size(scale);
  client.buffer = scale / 100 + random().size(random().chance(30) ? 1'000 : 200'000);
  client.is_unix = random().chance(40);
  if (random().chance(8)) client.reset_after = random().below(scale);
  if (client.is_unix && random().chance(20)) client.deaf_after = random().below(scale);
  client.waits_for_bytes = random().chance(15);
  client.waits_for_end = random().chance(30);
  conversation.patience = Duration(random().size(3'000'000));
  if (random().chance(20)) client.pause = Duration(random().size(3'000'000));
  if (random().chance(10)) client.stalled_until = world_.now + Duration(random().size(20'000'000));
}

// --- Steps -----------------------------------------------------------------------------------------------------------

void FanoutSimulation::step() {
  for (auto& [id, link] : links_) look_at(*link);
  for (auto& conversation : conversations_)
    if (conversation->relay) conversation->relay->on_time();
  for (auto& server : servers_) server->on_time();
  for (ServerIndex server = 0; server < slots_.size(); server++) {
    Slot& slot = slots_[server];
    if (slot.link == 0 && !slot.is_lost && slot.dial_at <= world_.now) dial(server);
  }
  reap();
  std::uint64_t actions = links_.size() * kLinkActions + 2 * conversations_.size();
  std::uint64_t first = random().below(actions);
  bool acted = false;
  for (std::uint64_t i = 0; i < actions && !acted; i++) acted = act((first + i) % actions);
  reap();
  if (acted)
    world_.now += Duration(random().below(world_.tick));
  else
    wait();
}

bool FanoutSimulation::act(std::uint64_t action) {
  if (action >= links_.size() * kLinkActions) {
    Conversation& conversation = *conversations_[(action - links_.size() * kLinkActions) / 2];
    if (!conversation.has_started) return start(conversation);
    return conversation.relay && conversation.client.act(*conversation.relay);
  }
  SimulatedLink& link = *std::next(links_.begin(), static_cast<std::ptrdiff_t>(action / kLinkActions))->second;
  int e = static_cast<int>(action % 2);
  std::uint64_t kind = action % kLinkActions / 2;
  if (kind == 3) return e == 1 && run_servers(link);
  if (link.is_dead(e)) return false;
  switch (kind) {
    case 0: return link.pump(e);
    case 1: return deliver(link, e);
    case 2: return e == 0 ? take_turn(link) : take_server_turn(link);
  }
  return false;
}

void FanoutSimulation::wait() {
  if (is_over()) return;
  for (auto& conversation : conversations_)
    if (std::exchange(conversation->starts_at, 0) > world_.steps) return;
  Time next = Time::max();
  auto consider = [&](Time at) {
    if (at > world_.now) next = std::min(next, at);
  };
  for (auto& [id, link] : links_) consider(link->next_event());
  for (auto& server : servers_) consider(server->next_event());
  for (auto& conversation : conversations_) {
    if (conversation->is_over) continue;
    const SimulatedApplication& client = conversation->client;
    for (Time at : {client.not_before, client.stalled_until, client.gives_up_at, conversation->gives_up_at})
      consider(at);
    if (conversation->relay) consider(conversation->relay->next_deadline());
  }
  for (Slot& slot : slots_) consider(slot.dial_at);
  if (next == Time::max()) require(false, "nothing will ever happen again; {}", unfinished());
  world_.now = next;
  if (next - world_.last_progress > kStuck) require(false, "stuck: no progress for a minute; {}", unfinished());
}

void FanoutSimulation::reap() {
  for (auto& conversation : conversations_) {
    if (!conversation->relay || !conversation->relay->is_closed()) continue;
    OwnerId owner = conversation->relay->owner();
    for (auto& [id, link] : links_) {
      if (link->is_dead(0)) continue;
      link->ends[0].session->for_each_stream([&](StreamId stream, OwnerId other) {
        require(whole_owner(other) != owner, "stream {} of link {} outlives its client", stream, id);
      });
    }
    conversation->rules = conversation->relay->rules();
    conversation->relay.reset();
    conversation->is_over = true;
    world_.progress();
  }
  std::erase_if(links_, [this](const auto& entry) {
    auto is_left = [&](const auto& server) { return server->link == entry.first && !server->is_done(); };
    return entry.second->is_dead(0) && entry.second->is_dead(1) && std::ranges::none_of(servers_, is_left);
  });
}

FanoutResult simulate_fanout(std::uint64_t seed, bool trace) { return FanoutSimulation(seed, trace).run(); }

}  // namespace cloudbus
