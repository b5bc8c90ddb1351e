// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/segment/dial_queue.h"

#include <utility>

#include "cloudbus/app/link/peer.h"
#include "cloudbus/app/segment/server_relay.h"

namespace cloudbus {
namespace {

constexpr int kDialsPerTurn = 32;  // doc/protocol.md, section 7, for each session
constexpr int kMostDialling = 256;
constexpr Duration kDialPause = std::chrono::milliseconds(100);  // when descriptors ran out

}  // namespace

void DialQueue::add(PeerId peer, OwnerId relay) {
  LinkEntry& link = links_[peer];
  if (link.waiting.empty()) order_.push_back(peer);
  link.waiting.push_back(relay);
}

void DialQueue::on_targets() {
  for (OwnerId id : std::exchange(nameless_, {}))
    if (auto* relay = static_cast<ServerRelay*>(worker_.roster().find(id)))
      if (worker_.links().find(relay->peer())) add(relay->peer(), id);
}

void DialQueue::on_ended(PeerId peer) {
  auto found = links_.find(peer);
  if (found == links_.end()) return;
  found->second.dialing--;
  if (!found->second.waiting.empty()) worker_.loop().go_on();
}

// Out of descriptors: tried again when one may have come back.
void DialQueue::pause() {
  pause_until_ = worker_.now() + kDialPause;
  pause_timer_.set(pause_until_);
}

void DialQueue::run() {
  if (worker_.now() < pause_until_) return;
  for (std::size_t left = order_.size(); left > 0; left--) {
    PeerId id = order_.front();
    order_.pop_front();
    auto found = links_.find(id);
    if (found == links_.end()) continue;
    LinkEntry& link = found->second;
    dial_some(link);
    if (link.waiting.empty()) continue;
    order_.push_back(id);
    if (worker_.now() < pause_until_) return;
    if (link.dialing < kMostDialling) worker_.loop().go_on();  // otherwise the end of a dial is awaited
  }
}

void DialQueue::dial_some(LinkEntry& link) {
  for (int dials = 0; dials < kDialsPerTurn && link.dialing < kMostDialling && !link.waiting.empty();) {
    auto* relay = static_cast<ServerRelay*>(worker_.roster().find(link.waiting.front()));
    link.waiting.pop_front();
    if (!relay || !relay->is_waiting()) continue;  // reset in the meantime
    dials++;
    switch (relay->dial()) {
      case ServerRelay::Dialled::Begun: break;
      case ServerRelay::Dialled::NoAddress:
        relay->wait_again();
        nameless_.push_back(relay->id());
        break;
      case ServerRelay::Dialled::NoDescriptor:
        relay->wait_again();
        link.waiting.push_front(relay->id());
        return pause();
    }
  }
}

}  // namespace cloudbus
