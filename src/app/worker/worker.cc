// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/worker/worker.h"

#include <malloc.h>

#include <algorithm>
#include <utility>

#include "cloudbus/app/link/peer.h"
#include "cloudbus/app/log/log.h"

namespace cloudbus {
namespace {

constexpr std::size_t kCrowd = 1000;  // conversations
constexpr Duration kTrimAfter = std::chrono::seconds(5);
constexpr Duration kLogAgain = std::chrono::milliseconds(100);  // when the log's reader is slow

}  // namespace

Worker::Worker(std::shared_ptr<const Config> config, Shared& shared, std::size_t index)
    : Context(std::move(config), shared, index) {}

// Conversations refer to the role's services.
Worker::~Worker() { roster_.clear(); }

void Worker::set_role(std::unique_ptr<RoleLogic> role) {
  role_ = std::move(role);
  links_.set_owner(*role_);
}

void Worker::apply(const ConfigDiff& diff) {
  set_config(diff.after);
  directory_.on_config();
  role_->on_config(diff);
  loop().go_on();
}

void Worker::run() {
  end_turn();
  loop().run([this] { end_turn(); });
}

// --- The turn ----------------------------------------------------------------------------------------------------

void Worker::end_turn() {
  while (TimerOwner* owner = timers().take_due(now())) owner->on_deadline(now());
  for (Directory::Id id : directory_.run()) role_->on_targets(id);
  role_->on_turn_end();
  bool has_more = links_.flush();
  roster_.reap();
  role_->on_reaped();
  check_drained();
  look_at_crowd();
  if (has_more) loop().go_on();
  if (log_flush())
    log_timer_.clear();
  else
    log_timer_.set(now() + kLogAgain);
  loop().set_alarm(timers().next());
}

// --- Memory ------------------------------------------------------------------------------------------------------

// When a crowd has gone, the heap holds what it freed, in pieces, and most likely nobody will use it again.
void Worker::look_at_crowd() {
  std::size_t now_there = roster_.size();
  crowd_ = std::max(crowd_, now_there);
  if (crowd_ < kCrowd || now_there > crowd_ / 2 || trim_timer_.is_set()) return;
  trim_timer_.set(now() + kTrimAfter);
}

void Worker::give_memory_back() {
  crowd_ = roster_.size();
  auto before = std::chrono::steady_clock::now();
  ::malloc_trim(0);
  auto took = std::chrono::steady_clock::now() - before;
  log_line(LogLevel::Debug, "memory", "free parts of the heap were given back",
           {{"took", std::chrono::duration_cast<Duration>(took)}});
}

// --- Draining ----------------------------------------------------------------------------------------------------

void Worker::drain(Time deadline, std::function<void()> on_done) {
  if (draining_) return;
  draining_ = true;
  drain_deadline_ = deadline;
  on_drained_ = std::move(on_done);
  drain_timer_.set(deadline);
  role_->on_drain();
  roster_.for_each([](Conversation& conversation) { conversation.on_drain(); });
  loop().go_on();
}

void Worker::abort_everything() {
  roster_.abort_all(StreamCode::DrainTimeout);
  links_.close_all();
  roster_.reap();
  log_flush();
}

void Worker::check_drained() {
  if (!draining_ || !on_drained_) return;
  bool expired = now() >= drain_deadline_;
  if (!expired && !(roster_.is_empty() && role_->is_drained())) return;
  drain_timer_.clear();
  abort_everything();
  std::exchange(on_drained_, nullptr)();
}

void Worker::end_now() {
  abort_everything();
  loop().stop();
}

}  // namespace cloudbus
