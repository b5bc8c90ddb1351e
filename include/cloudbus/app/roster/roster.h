// SPDX-License-Identifier: Apache-2.0
#pragma once

// The conversations of a worker, by id. Everybody else remembers the id: a stale one is a lookup that finds nothing.

#include <sys/uio.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "cloudbus/app/roster/context.h"
#include "cloudbus/app/roster/conversation.h"

namespace cloudbus {

class Roster {
 public:
  explicit Roster(Context& context) : context_(context) {}
  ~Roster();
  Roster(const Roster&) = delete;
  Roster& operator=(const Roster&) = delete;

  Conversation& add(std::unique_ptr<Conversation> conversation);
  Conversation* find(OwnerId id);  // of one of its legs, too
  bool is_empty() const { return conversations_.empty(); }
  std::size_t size() const { return conversations_.size(); }
  template <typename Visit>
  void for_each(Visit visit) {
    for (auto& [id, conversation] : conversations_) visit(*conversation);
  }

  // Destroyed by reap(), at the end of the turn.
  void retire(Conversation& conversation) { retired_.push_back(conversation.id()); }
  void reap();
  void abort_all(StreamCode code);
  void clear() { conversations_.clear(); }

  // Calls Conversation::look_behind() once the conversation may have been idle for so long.
  static constexpr Duration kLookBehindAfter = std::chrono::milliseconds(50);
  void look_behind_later(Conversation& conversation);

  // Gathers what came for one leg, to hand it on at once. A part for another leg, or flush_run(), hands it on.
  void add_to_run(OwnerId leg, Bytes part, bool ends_frame);
  void flush_run();

 private:
  static constexpr int kMostParts = 64;

  void look_behind();

  Context& context_;
  std::unordered_map<OwnerId, std::unique_ptr<Conversation>> conversations_;
  std::vector<OwnerId> retired_;

  std::vector<OwnerId> emptied_;  // to be looked behind
  Timer look_timer_{context_.timers(), [this] { look_behind(); }};

  OwnerId run_leg_ = 0;
  iovec run_[kMostParts];
  int run_count_ = 0;
  std::size_t run_size_ = 0;
  std::size_t run_part_ = 0;  // bytes at its end, of a frame that has not all arrived
};

}  // namespace cloudbus
