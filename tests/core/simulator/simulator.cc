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
      steps_++;
      require(steps_ < kMostSteps, "no end in sight: {} steps", steps_);
      step();
      check();
    }
    check_end();
  } catch (const std::runtime_error& broken) {
    result.error = broken.what();
  }
  result.fingerprint = fingerprint_;
  result.steps = steps_;
  result.delivered = delivered_;
  for (const Conversation& conversation : conversations_) {
    result.streams += conversation.sides[0].exists;
    for (const Side& side : conversation.sides) {
      result.resets += side.was_reset || side.own_reset;
      result.finished += side.fin_received;
    }
  }
  result.was_cut = ending_ == Ending::Cut || ending_ == Ending::BlackHole;
  result.resumed = resumed_;
  return result;
}

// --- What is drawn from the seed ---------------------------------------------------------------------------------

void Simulation::plan_link() {
  scale_ = random_.pick<std::uint64_t>({2'000, 30'000, 120'000, 400'000});
  std::uint64_t max_streams = random_.pick<std::uint64_t>({1, 2, 4, 8, 40});
  plan_cuts();
  for (int e = 0; e < 2; e++) {
    SessionLimits limits;
    limits.initial_window = random_.pick<std::uint32_t>({16'384, 16'384, 20'000, 65'536, 262'144});
    limits.max_streams = max_streams;
    auto memory = random_.pick<std::uint64_t>({64 * 1024, 256 * 1024, 1024 * 1024, 64 * 1024 * 1024});
    ends_[e] = std::make_unique<End>(e == 0 ? Role::Controller : Role::Segment, memory, limits, hello(e), now_);
    ends_[e]->most_output = random_.size(1024 * 1024);
    ends_[e]->last_heard = now_;
    pipes_[e].capacity = scale_ < 30'000 ? random_.pick<std::size_t>({20, 300, 5'000})
                                         : random_.pick<std::size_t>({5'000, 70'000, 1'000'000});
    // A link so slow that what stands before a ping takes seconds would be taken for dead.
    auto slowest = pipes_[e].capacity < 1'000    ? Duration(100)
                   : pipes_[e].capacity < 50'000 ? milliseconds(5)
                                                 : milliseconds(100);
    pipes_[e].delay = std::min<Duration>(
        slowest, random_.pick<Duration>({microseconds(0), microseconds(100), milliseconds(5), milliseconds(100)}));
  }
  most_chunk_ = scale_ < 30'000 ? random_.pick<std::size_t>({1, 40, 1'000, 100'000})
                                : random_.pick<std::size_t>({1'000, 20'000, 300'000});
  tick_ = std::min<std::uint64_t>(most_chunk_, random_.pick<std::uint64_t>({1, 10, 100, 1'000}));
  ending_ = random_.pick({Ending::Quiet, Ending::Quiet, Ending::Quiet, Ending::DrainBySegment,
                          Ending::DrainByController, Ending::Cut, Ending::Cut, Ending::Close, Ending::BlackHole});
  ends_at_ = ending_ == Ending::Quiet ? kNever : random_.size(3'000);
  say("windows {} and {}, memory {} and {}, max-streams {}, capacity {} and {}, chunks {}, ending {} at {}",
      ends_[0]->limits.initial_window, ends_[1]->limits.initial_window, ends_[0]->budget.limit(),
      ends_[1]->budget.limit(), max_streams, pipes_[0].capacity, pipes_[1].capacity, most_chunk_,
      static_cast<int>(ending_), ends_at_);
}

void Simulation::plan_cuts() {
  if (!random_.chance(50)) return;
  is_resumable_ = true;
  for (std::uint64_t cuts = random_.below(8); cuts > 0; cuts--) cuts_.push_back(random_.size(6'000));
  if (!cuts_.empty() && random_.chance(30)) cuts_.push_back(cuts_.back() + random_.size(30));  // while it is resumed
  std::ranges::sort(cuts_, std::greater<>());
}

Hello Simulation::hello(int e) {
  Hello hello{.software = "simulator"};
  if (!is_resumable_) return hello;
  hello.resume.emplace().wait_ms = 30'000;
  for (std::byte& byte : hello.resume->nonce) byte = static_cast<std::byte>(random_.below(256));
  if (e == 0) return hello;
  SessionKey& key = hello.session.emplace();
  for (std::byte& byte : key.id) byte = static_cast<std::byte>(random_.below(256));
  for (std::byte& byte : key.secret) byte = static_cast<std::byte>(random_.below(256));
  return hello;
}

void Simulation::plan_conversations() {
  std::uint64_t max_streams = ends_[1]->limits.max_streams;
  std::uint64_t may_stall = max_streams - std::max<std::uint64_t>(1, max_streams / 4);
  conversations_.resize(random_.size(12));
  for (Conversation& conversation : conversations_) {
    conversation.key = random_.below(Content::kPeriod);
    for (Side& side : conversation.sides) {
      side.to_send = random_.chance(10) ? 0 : random_.size(scale_);
      side.burst = scale_ / 300 + random_.size(scale_);
      if (random_.chance(10)) side.reset_after = random_.below(scale_);
      if (random_.chance(10)) side.stop_after = random_.below(scale_);
      if (random_.chance(20)) side.pause = Duration(random_.size(12'000'000));
      side.code = static_cast<StreamCode>(random_.below(static_cast<unsigned>(StreamCode::LinkLost)));
    }
    Side& server = conversation.sides[1];
    server.refuses = random_.chance(8);
    server.waits_for_fin = random_.chance(25);
    conversation.sides[0].waits_for_bytes = !server.waits_for_fin && server.to_send > 0 && random_.chance(25);
    if (may_stall > 0 && random_.chance(15)) {
      may_stall--;
      conversation.sides[random_.below(2)].stalled = true;
    }
  }
}

// --- Steps -------------------------------------------------------------------------------------------------------

void Simulation::step() {
  if (steps_ == ends_at_) begin_ending();
  for (int e = 0; e < 2; e++) {
    if (ends_[e]->dead) continue;
    session(e).on_time(now_);
    if (session(e).is_closed())
      on_closed(e);
    else if (session(e).is_silent())
      end_link(e);
    if (Session* fresh = ends_[e]->fresh.get()) {
      fresh->on_time(now_);
      if (fresh->is_closed()) end_link(e);
    }
  }
  if (now_ >= relink_at_) relink();
  constexpr int kActions = 11;
  std::uint64_t first = random_.below(kActions);
  bool acted = false;
  for (int i = 0; i < kActions && !acted; i++) acted = act((first + i) % kActions);
  if (!cuts_.empty() && steps_ >= cuts_.back()) cut_link();
  if (acted)
    now_ += Duration(random_.below(tick_));
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
      const Side& side = conversation.sides[e];
      if (side.exists && side.not_before > now_) next = std::min(next, side.not_before);
    }
  }
  require(next != Time::max(), "nothing will ever happen again");
  now_ = std::max(now_, next);
  require(now_ - last_progress_ < kStuck, "stuck: no progress for a minute; {}", unfinished());
}

SimulationResult simulate(std::uint64_t seed, bool trace) { return Simulation(seed, trace).run(); }

}  // namespace cloudbus
