// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/roster/roster.h"

#include <utility>

namespace cloudbus {

Roster::~Roster() = default;

Conversation& Roster::add(std::unique_ptr<Conversation> conversation) {
  Conversation& added = *conversation;
  conversations_.emplace(added.id(), std::move(conversation));
  return added;
}

Conversation* Roster::find(OwnerId id) {
  auto found = conversations_.find(whole_owner(id));
  return found == conversations_.end() ? nullptr : found->second.get();
}

void Roster::reap() {
  for (OwnerId id : retired_) conversations_.erase(id);
  retired_.clear();
}

void Roster::abort_all(StreamCode code) {
  for (auto& [id, conversation] : conversations_)
    if (!conversation->is_closed()) conversation->abort(code);
}

// --- Looking behind ----------------------------------------------------------------------------------------------

void Roster::look_behind_later(Conversation& conversation) {
  emptied_.push_back(conversation.id());
  if (!look_timer_.is_set()) look_timer_.set(context_.now() + kLookBehindAfter);
}

void Roster::look_behind() {
  std::erase_if(emptied_, [this](OwnerId id) {
    Conversation* conversation = find(id);
    return !conversation || conversation->look_behind(context_.now());
  });
  if (emptied_.empty()) return emptied_.shrink_to_fit();  // there may have been very many
  look_timer_.set(context_.now() + kLookBehindAfter);
}

// --- Data --------------------------------------------------------------------------------------------------------

void Roster::add_to_run(OwnerId leg, Bytes part, bool ends_frame) {
  if (leg != run_leg_ || run_count_ == kMostParts) flush_run();
  run_leg_ = leg;
  run_part_ = ends_frame ? 0 : run_part_ + part.size();
  run_[run_count_++] = {const_cast<std::byte*>(part.data()), part.size()};
  run_size_ += part.size();
}

void Roster::flush_run() {
  if (run_count_ == 0) return;
  int count = std::exchange(run_count_, 0);
  std::size_t size = std::exchange(run_size_, 0);
  std::size_t part = std::exchange(run_part_, 0);
  if (Conversation* conversation = find(run_leg_)) conversation->on_data(leg_of(run_leg_), run_, count, size, part);
}

}  // namespace cloudbus
