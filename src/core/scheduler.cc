// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/scheduler.h"

#include <algorithm>

#include "cloudbus/core/output.h"

namespace cloudbus {

Scheduler::Class& Scheduler::class_of(Priority priority) {
  auto place = std::ranges::lower_bound(classes_, priority, {}, &Class::priority);
  if (place == classes_.end() || place->priority != priority) place = classes_.insert(place, Class{priority});
  return *place;
}

// The first priority, or, after so many turns of it, the one of the others that has had none for longest.
Scheduler::Class* Scheduler::choose() {
  Class *first = nullptr, *oldest = nullptr;
  for (Class& each : classes_) {
    if (each.empty()) continue;
    if (!first)
      first = &each;
    else if (!oldest || each.last_turn < oldest->last_turn)
      oldest = &each;
  }
  bool yields = oldest && urgent_turns_ >= kUrgentTurns;
  urgent_turns_ = oldest && !yields ? urgent_turns_ + 1 : 0;
  return yields ? oldest : first;
}

std::optional<Scheduler::Turn> Scheduler::next() {
  Class* chosen = choose();
  if (!chosen) return std::nullopt;
  chosen->last_turn = ++turns_;
  bool quiet = !chosen->quiet.empty() && (chosen->busy.empty() || chosen->quiet_turns < kQuietTurns);
  chosen->quiet_turns = quiet ? chosen->quiet_turns + 1 : 0;
  auto& queue = quiet ? chosen->quiet : chosen->busy;
  StreamId stream = queue.front();
  queue.pop_front();
  waiting_--;
  if (empty()) return Turn{stream, Output::kMaxFill};  // nobody waits
  return Turn{stream, quiet ? kFirstTurn : kTurn};
}

}  // namespace cloudbus
