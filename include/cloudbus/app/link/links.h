// SPDX-License-Identifier: Apache-2.0
#pragma once

// The peers of a worker, by id, and the end of their turn: every link that has something to write is written once.

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "cloudbus/app/link/link_totals.h"
#include "cloudbus/app/link/peer_owner.h"
#include "cloudbus/app/roster/roster.h"

namespace cloudbus {

using PeerId = std::uint64_t;

// Where a link came in, and what for. Both are 0 for a link that a controller made.
struct Origin {
  ServiceId service = 0;  // the only one that it serves; 0: all
  BindId bind = 0;

  auto operator<=>(const Origin&) const = default;
};

class Links {
 public:
  Links(Context& context, Roster& roster);
  ~Links();
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;

  // Before the first link.
  void set_owner(PeerOwner& owner) { owner_ = &owner; }

  Context& context() { return context_; }
  Roster& roster() { return roster_; }
  PeerOwner& owner() { return *owner_; }
  LinkTotals& totals() { return totals_; }

  // Takes a socket over. `name` is its address for the log.
  Peer& add(int fd, bool connecting, std::string name, const Origin& origin = {});
  Peer* find(PeerId id);
  template <typename Visit>
  void for_each(Visit visit) {
    for (auto& [id, peer] : peers_) visit(*peer);
  }

  // The peer has something to write, or has ended: flush() looks at it.
  void touch(Peer& peer);
  // The end of a turn: writes, and destroys the peers that have gone. True when there is more to do at once.
  bool flush();
  // The process ends.
  void close_all();

  // For a new link.
  Hello hello(const Origin& origin) const;
  SessionLimits session_limits() const;

 private:
  Context& context_;
  Roster& roster_;
  PeerOwner* owner_ = nullptr;
  LinkTotals totals_{context_};
  std::unordered_map<PeerId, std::unique_ptr<Peer>> peers_;
  std::vector<PeerId> touched_;
};

}  // namespace cloudbus
