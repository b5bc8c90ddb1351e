// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/session/scheduler.h"

#include <algorithm>
#include <functional>

#include "cloudbus/core/session/output.h"

namespace cloudbus {

Scheduler::Class& Scheduler::class_of(std::int8_t priority) {
  auto place = std::ranges::lower_bound(classes_, priority, {}, &Class::priority);
  if (place == classes_.end() || place->priority != priority) place = classes_.insert(place, Class{priority});
  return *place;
}

void Scheduler::push_busy(Class& its, StreamId stream, std::uint64_t position) {
  its.busy.push_back({position, order_++, stream});
  std::ranges::push_heap(its.busy, std::greater<>());
}

StreamId Scheduler::pop_busy(Class& its) {
  std::ranges::pop_heap(its.busy, std::greater<>());
  Waiting first = its.busy.back();
  its.busy.pop_back();
  its.clock = std::max(its.clock, first.position);
  return first.stream;
}

// Idle time earns no credit: the stream starts no further back than the clock.
void Scheduler::start(StreamId stream, Share& share) {
  Class& its = class_of(share.priority);
  share.position = std::max(share.position, its.clock);
  waiting_++;
  if (share.position - its.clock <= kSparseQuantum)
    its.sparse.push(stream);
  else
    push_busy(its, stream, share.position);
}

void Scheduler::go_on(StreamId stream, const Share& share) {
  push_busy(class_of(share.priority), stream, share.position);
  waiting_++;
}

// The first priority; after kMostUrgent quanta of it, the other priority that has waited longest.
Scheduler::Class* Scheduler::choose() {
  Class *first = nullptr, *oldest = nullptr;
  for (Class& each : classes_) {
    if (each.empty()) continue;
    if (!first)
      first = &each;
    else if (!oldest || each.last_served < oldest->last_served)
      oldest = &each;
  }
  bool yields = oldest && urgent_in_row_ >= kMostUrgent;
  urgent_in_row_ = oldest && !yields ? urgent_in_row_ + 1 : 0;
  return yields ? oldest : first;
}

std::optional<Scheduler::Quantum> Scheduler::next() {
  Class* its = choose();
  if (!its) return std::nullopt;
  its->last_served = ++served_;
  bool sparse = !its->sparse.empty() && (its->busy.empty() || its->sparse_in_row < kMostSparse);
  its->sparse_in_row = sparse ? its->sparse_in_row + 1 : 0;
  StreamId stream;
  if (sparse) {
    stream = its->sparse.pop();
  } else {
    stream = pop_busy(*its);
  }
  waiting_--;
  if (empty()) return Quantum{stream, Output::kMaxFill};  // no other stream waits
  return Quantum{stream, sparse ? kSparseQuantum : kQuantum};
}

}  // namespace cloudbus
