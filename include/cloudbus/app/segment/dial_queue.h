// SPDX-License-Identifier: Apache-2.0
#pragma once

// The streams of a segment's worker that wait to be connected to their servers: some of each link in a turn of the
// loop, link by link and within a link service by service. No more than so many of a link are being connected at once,
// and a service has no more of them than it leaves to the others (core/policy/share.h), so that one whose server does
// not answer delays nobody else.

#include <deque>
#include <unordered_map>
#include <vector>

#include "cloudbus/app/worker/worker.h"
#include "cloudbus/core/policy/fair_queue.h"

namespace cloudbus {

class ServerRelay;

class DialQueue {
 public:
  explicit DialQueue(Worker& worker) : worker_(worker) {}
  DialQueue(const DialQueue&) = delete;
  DialQueue& operator=(const DialQueue&) = delete;

  void add(const ServerRelay& relay);
  // Whatever was resolved: streams that wait for the addresses of their servers are tried again.
  void on_targets();
  // At the end of a turn: dials.
  void run();

  // A stream of the link has begun to connect, or does so no longer.
  void on_begun(const ServerRelay& relay);
  void on_ended(const ServerRelay& relay);
  void on_gone(PeerId peer) { links_.erase(peer); }

 private:
  struct LinkEntry {
    FairQueue<ServiceId, OwnerId> waiting;
    std::unordered_map<ServiceId, std::uint64_t> dialing;  // none is 0
    std::uint64_t all_dialing = 0;
  };

  bool may_dial(const LinkEntry& link, ServiceId service) const;
  void dial_some(LinkEntry& link);
  void pause();

  Worker& worker_;
  std::unordered_map<PeerId, LinkEntry> links_;
  std::deque<PeerId> order_;              // links with streams that wait
  std::vector<ServiceId> without_share_;  // of descriptors, in this turn
  std::vector<OwnerId> nameless_;         // streams that wait for the addresses of their server
  Time pause_until_{};
  Timer pause_timer_{worker_.timers(), [] {}};  // run() comes in the same turn
};

}  // namespace cloudbus
