// SPDX-License-Identifier: Apache-2.0
#pragma once

// The streams of a segment's worker that wait to be connected to their servers: some of each link in a turn of the
// loop, link by link, and no more than so many of a link at once.

#include <deque>
#include <unordered_map>
#include <vector>

#include "cloudbus/app/worker/worker.h"

namespace cloudbus {

class DialQueue {
 public:
  explicit DialQueue(Worker& worker) : worker_(worker) {}
  DialQueue(const DialQueue&) = delete;
  DialQueue& operator=(const DialQueue&) = delete;

  void add(PeerId peer, OwnerId relay);
  // Whatever was resolved: streams that wait for the addresses of their servers are tried again.
  void on_targets();
  // At the end of a turn: dials.
  void run();

  // A stream of the link has begun to connect, or does so no longer.
  void on_begun(PeerId peer) { links_[peer].dialing++; }
  void on_ended(PeerId peer);
  void on_gone(PeerId peer) { links_.erase(peer); }

 private:
  struct LinkEntry {
    std::deque<OwnerId> waiting;
    int dialing = 0;
  };

  void dial_some(LinkEntry& link);
  void pause();

  Worker& worker_;
  std::unordered_map<PeerId, LinkEntry> links_;
  std::deque<PeerId> order_;       // links with streams that wait
  std::vector<OwnerId> nameless_;  // streams that wait for the addresses of their server
  Time pause_until_{};
  Timer pause_timer_{worker_.timers(), [] {}};  // run() comes in the same turn
};

}  // namespace cloudbus
