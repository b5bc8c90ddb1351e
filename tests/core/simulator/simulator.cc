// SPDX-License-Identifier: Apache-2.0
#include "core/simulator/simulator.h"

#include <algorithm>
#include <functional>

#include "core/simulator/simulation.h"

namespace cloudbus {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::uint64_t kMostSteps = 400'000;
constexpr Duration kStuck = std::chrono::seconds(60);  // without progress, while pings go back and forth

}  // namespace

SimulationResult Simulation::run() {
  SimulationResult result{};
  try {
    while (!ends_[0]->dead || !ends_[1]->dead) {
      world_.steps++;
      if (world_.steps == kMostSteps) require(false, "no end in sight: {} steps; {}", kMostSteps, unfinished());
      step();
      check();
    }
    summarize(result);
    check_end();
  } catch (const std::runtime_error& broken) {
    result.error = broken.what();
  }
  result.fingerprint = world_.fingerprint;
  result.steps = world_.steps;
  result.delivered = delivered_;
  return result;
}

void Simulation::summarize(SimulationResult& result) const {
  for (const Conversation& conversation : conversations_) {
    result.streams += conversation.side(0).exists;
    for (const auto& side : conversation.sides) {
      result.resets += side->was_reset || side->own_reset;
      result.finished += side->fin_received;
    }
  }
  result.was_cut = ending_ == Ending::Cut || ending_ == Ending::BlackHole;
  result.resumed = resumed_;
}

// --- What is drawn from the seed ---------------------------------------------------------------------------------

void Simulation::plan_link() {
  scale_ = world_.random.pick<std::uint64_t>({2'000, 30'000, 120'000, 400'000});
  std::uint64_t max_streams = world_.random.pick<std::uint64_t>({1, 2, 4, 8, 40});
  plan_cuts();
  for (int e = 0; e < 2; e++) {
    SessionLimits limits;
    limits.initial_window = world_.random.pick<std::uint32_t>({16'384, 16'384, 20'000, 65'536, 262'144});
    limits.max_streams = max_streams;
    auto memory = world_.random.pick<std::uint64_t>({64 * 1024, 256 * 1024, 1024 * 1024, 64 * 1024 * 1024});
    ends_[e] = std::make_unique<End>(e == 0 ? Role::Controller : Role::Segment, memory, limits, hello(e), world_.now);
    ends_[e]->most_output = world_.random.size(1024 * 1024);
    ends_[e]->last_heard = world_.now;
    pipes_[e].capacity = scale_ < 30'000 ? world_.random.pick<std::size_t>({20, 300, 5'000})
                                         : world_.random.pick<std::size_t>({5'000, 70'000, 1'000'000});
    // A link so slow that what stands before a ping takes seconds would be taken for dead.
    auto slowest = pipes_[e].capacity < 1'000    ? Duration(100)
                   : pipes_[e].capacity < 50'000 ? milliseconds(5)
                                                 : milliseconds(100);
    pipes_[e].delay = std::min<Duration>(slowest, world_.random.pick<Duration>({microseconds(0), microseconds(100),
                                                                                milliseconds(5), milliseconds(100)}));
  }
  most_chunk_ = scale_ < 30'000 ? world_.random.pick<std::size_t>({1, 40, 1'000, 100'000})
                                : world_.random.pick<std::size_t>({1'000, 20'000, 300'000});
  tick_ = std::min<std::uint64_t>(most_chunk_, world_.random.pick<std::uint64_t>({1, 10, 100, 1'000}));
  ending_ = world_.random.pick({Ending::Quiet, Ending::Quiet, Ending::Quiet, Ending::DrainBySegment,
                                Ending::DrainByController, Ending::Cut, Ending::Cut, Ending::Close, Ending::BlackHole});
  ends_at_ = ending_ == Ending::Quiet ? kNever : world_.random.size(3'000);
  say("windows {} and {}, memory {} and {}, max-streams {}, capacity {} and {}, chunks {}, ending {} at {}",
      ends_[0]->limits.initial_window, ends_[1]->limits.initial_window, ends_[0]->budget.limit(),
      ends_[1]->budget.limit(), max_streams, pipes_[0].capacity, pipes_[1].capacity, most_chunk_,
      static_cast<int>(ending_), ends_at_);
}

void Simulation::plan_cuts() {
  if (!world_.random.chance(50)) return;
  is_resumable_ = true;
  for (std::uint64_t cuts = world_.random.below(8); cuts > 0; cuts--) cuts_.push_back(world_.random.size(6'000));
  if (!cuts_.empty() && world_.random.chance(30))
    cuts_.push_back(cuts_.back() + world_.random.size(30));  // while it is resumed
  std::ranges::sort(cuts_, std::greater<>());
}

Hello Simulation::hello(int e) {
  Hello hello{.software = "simulator"};
  if (!is_resumable_) return hello;
  hello.resume.emplace().wait_ms = 30'000;
  for (std::byte& byte : hello.resume->nonce) byte = static_cast<std::byte>(world_.random.below(256));
  if (e == 0) return hello;
  SessionKey& key = hello.session.emplace();
  for (std::byte& byte : key.id) byte = static_cast<std::byte>(world_.random.below(256));
  for (std::byte& byte : key.secret) byte = static_cast<std::byte>(world_.random.below(256));
  return hello;
}

void Simulation::plan_conversations() {
  std::uint64_t max_streams = ends_[1]->limits.max_streams;
  std::uint64_t may_stall = max_streams - std::max<std::uint64_t>(1, max_streams / 4);
  conversations_.resize(world_.random.size(12));
  for (std::size_t index = 0; index < conversations_.size(); index++) {
    Conversation& conversation = conversations_[index];
    conversation.key = world_.random.below(Content::kPeriod);
    for (int e = 0; e < 2; e++) {
      conversation.sides[e] =
          std::make_unique<OneToOneRelay>(world_, e == 0 ? Flow::Side::Client : Flow::Side::Server, ends_[e]->budget,
                                          fmt::format("the {} of {}", e == 0 ? "client" : "server", index));
      conversation.side(e).application.key = conversation.key + static_cast<unsigned>(1 - e);
      plan_side(conversation.side(e));
    }
    OneToOneRelay& server = conversation.side(1);
    SimulatedApplication &client_app = conversation.side(0).application, &server_app = server.application;
    server.refuses = world_.random.chance(8);
    server_app.waits_for_fin = world_.random.chance(25);
    client_app.waits_for_bytes = !server_app.waits_for_fin && server_app.to_send > 0 && world_.random.chance(25);
    if (may_stall > 0 && world_.random.chance(15)) {
      may_stall--;
      conversation.side(static_cast<int>(world_.random.below(2))).stalled = true;
    }
  }
}

void Simulation::plan_side(OneToOneRelay& side) {
  Random& random = world_.random;
  SimulatedApplication& app = side.application;
  app.to_send = random.chance(10) ? 0 : random.size(scale_);
  app.burst = scale_ / 300 + random.size(scale_);
  app.buffer = scale_ / 100 + random.size(random.chance(30) ? 1'000 : 200'000);
  app.is_unix = random.chance(40);
  if (random.chance(8)) app.reset_after = random.below(scale_);
  if (random.chance(5)) side.abort_after = random.below(scale_);
  if (app.is_unix && random.chance(25)) app.deaf_after = random.below(scale_);
  if (random.chance(20)) app.pause = Duration(random.size(12'000'000));
  side.code = static_cast<StreamCode>(random.below(static_cast<unsigned>(StreamCode::LinkLost)));
}

// --- Steps -------------------------------------------------------------------------------------------------------

void Simulation::step() {
  if (world_.steps == ends_at_) begin_ending();
  for (int e = 0; e < 2; e++) {
    if (ends_[e]->dead) continue;
    session(e).on_time(world_.now);
    if (session(e).is_closed())
      on_closed(e);
    else if (session(e).is_silent())
      end_link(e);
    if (Session* fresh = ends_[e]->fresh.get()) {
      fresh->on_time(world_.now);
      if (fresh->is_closed()) end_link(e);
    }
  }
  if (world_.now >= relink_at_) relink();
  for (Conversation& conversation : conversations_)
    for (int e = 0; e < 2; e++)
      if (!ends_[e]->dead && conversation.side(e).exists) conversation.side(e).on_time();
  constexpr int kActions = 11;
  std::uint64_t first = world_.random.below(kActions);
  bool acted = false;
  for (int i = 0; i < kActions && !acted; i++) acted = act((first + i) % kActions);
  if (!cuts_.empty() && world_.steps >= cuts_.back()) cut_link();
  if (acted)
    world_.now += Duration(world_.random.below(tick_));
  else
    wait();
  if (both_live() && all_over()) begin_quiet_end();
}

bool Simulation::act(std::uint64_t action) {
  int e = static_cast<int>(action % 2);
  if (action == 10) return open();
  if (ends_[e]->dead) return false;
  switch (action / 2) {
    case 0: return pump(e);
    case 1: return deliver(e);
    case 2: return take_turn(e);
    case 3: return run_application(e);
    case 4: return repeat_command(e);
  }
  return false;
}

void Simulation::wait() {
  if (ends_[0]->dead && ends_[1]->dead) return;
  Time next = Time::max();
  for (int e = 0; e < 2; e++) {
    if (ends_[e]->dead) continue;
    next = std::min({next, session(e).next_deadline(), relink_at_});
    if (carried(e)) next = std::min({next, carried(e)->next_deadline(), pipes_[1 - e].next_arrival()});
    for (const Conversation& conversation : conversations_) {
      const OneToOneRelay& side = conversation.side(e);
      if (!side.exists) continue;
      next = std::min(next, side.next_deadline());
      if (side.application.not_before > world_.now) next = std::min(next, side.application.not_before);
    }
  }
  require(next != Time::max(), "nothing will ever happen again");
  world_.now = std::max(world_.now, next);
  if (world_.now - world_.last_progress > kStuck) require(false, "stuck: no progress for a minute; {}", unfinished());
}

SimulationResult simulate(std::uint64_t seed, bool trace) { return Simulation(seed, trace).run(); }

}  // namespace cloudbus
