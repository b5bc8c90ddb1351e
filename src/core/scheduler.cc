// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/scheduler.h"

#include "cloudbus/core/output.h"

namespace cloudbus {

std::optional<Scheduler::Turn> Scheduler::next() {
  bool quiet = !quiet_.empty() && (busy_.empty() || quiet_turns_ < kQuietTurns);
  quiet_turns_ = quiet ? quiet_turns_ + 1 : 0;
  auto& queue = quiet ? quiet_ : busy_;
  if (queue.empty()) return std::nullopt;
  StreamId stream = queue.front();
  queue.pop_front();
  if (empty()) return Turn{stream, Output::kMaxFill};  // nobody waits
  return Turn{stream, quiet ? kFirstTurn : kTurn};
}

}  // namespace cloudbus
