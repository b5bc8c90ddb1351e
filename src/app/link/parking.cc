// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/link/parking.h"

#include <algorithm>

#include "cloudbus/app/link/peer.h"

namespace cloudbus {

// Null for one that waits no more.
Peer* Parking::find(PeerId id) {
  Peer* peer = links_.find(id);
  return peer && !peer->is_gone() && peer->is_detached() ? peer : nullptr;
}

std::uint64_t Parking::kept_by(Peer& peer) {
  const Output& output = peer.session().output();
  return output.kept() - output.rewound() + output.size();
}

void Parking::add(PeerId peer) {
  std::erase_if(parked_, [this, peer](PeerId id) { return id == peer || !find(id); });
  parked_.push_back(peer);
  std::uint64_t kept = 0, most = links_.context().budget().limit() / kMemoryPart;
  for (PeerId id : parked_) kept += kept_by(*find(id));
  while (parked_.size() > kMost || (kept > most && parked_.size() > 1)) {
    // Links that broke soon after they were made leave sessions with nothing in them: those go first.
    auto is_empty = [this](PeerId id) { return !find(id)->session().is_worth_resuming(); };
    auto first = std::ranges::find_if(parked_, is_empty);
    if (first == parked_.end()) first = parked_.begin();
    Peer& oldest = *find(*first);
    kept -= kept_by(oldest);
    parked_.erase(first);
    oldest.give_up(StreamCode::ResumeTimeout, "too many sessions wait for their links");
  }
}

}  // namespace cloudbus
