// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a controller does for sessions that lost their links: it dials their segments, again and again, until a session
// goes on over a new link or is given up.

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "cloudbus/app/link/peer.h"
#include "cloudbus/core/policy/backoff.h"
#include "cloudbus/core/session/limits.h"
#include "cloudbus/net/address.h"
#include "cloudbus/net/timers.h"

namespace cloudbus {

class Resumer {
 public:
  explicit Resumer(Links& links) : links_(links) {}
  Resumer(const Resumer&) = delete;
  Resumer& operator=(const Resumer&) = delete;

  // `lost` waits for a link. The first of the addresses is the one that it had; the others may be the same segment's.
  void start(Peer& lost, std::vector<Address> addresses);

  // The link of `peer` stands, but may be dead. Others are made beside it: when one of them is established and the old
  // one is still silent, the old one is given up for it. When the old one speaks first, the others are dropped.
  void start_beside(Peer& peer, std::vector<Address> addresses);

  // What came of a link that is established.
  struct Established {
    bool is_own = false;  // it was dialled here
    PeerId replaces = 0;  // ... to the segment that took the index of this peer's: it is a new link like any other
  };
  Established on_established(Peer& fresh);
  // The segment agreed: the peer that goes on, null when it is no more.
  Peer* on_resumed(Peer& fresh, const ResumeFrame& answer, Bytes rest);
  // True for a link that was dialled here and came to nothing.
  bool on_gone(Peer& peer);

 private:
  struct Try {
    PeerId peer;
    bool is_first_address;
  };
  struct Search {
    Search(Resumer& resumer, PeerId lost_peer)
        : lost(lost_peer),
          timer(resumer.links_.context().timers(), [&resumer, lost_peer] { resumer.on_time(lost_peer); }) {}

    PeerId lost;
    Timer timer;
    std::vector<Address> addresses;
    std::size_t next = 0;
    Backoff backoff{std::chrono::milliseconds(5), std::chrono::milliseconds(50)};
    std::vector<Try> tries;  // links that are being made, the oldest first
    PeerId asking = 0;       // the one that was asked to carry the session
    Time asked_at{};
    bool is_beside = false;  // the peer has its link still
    PeerId established = 0;  // beside it, the one that may take over
  };

  Search* find(PeerId lost);
  Search* search_of(PeerId one_try);
  Peer* find_lost(const Search& search);
  void on_time(PeerId lost);
  void on_time_beside(Search& search);
  Established on_established_beside(Search& search, Peer& fresh);
  void ask(Search& search, Peer& lost, Peer& fresh);
  void try_next(Search& search);
  void try_later(Search& search, Duration wait);
  void drop_try(PeerId id, std::string reason);
  void end(PeerId lost, PeerId except);

  Links& links_;
  std::unordered_map<PeerId, Search> searches_;  // by the peer that lost its link
  std::unordered_map<PeerId, PeerId> lost_of_;   // by try
  TokenBucket beside_{8, 2};                     // searches beside links
};

}  // namespace cloudbus
