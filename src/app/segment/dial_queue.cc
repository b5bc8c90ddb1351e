// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/segment/dial_queue.h"

#include <algorithm>
#include <utility>

#include "cloudbus/app/link/peer.h"
#include "cloudbus/app/segment/server_relay.h"
#include "cloudbus/core/policy/share.h"

namespace cloudbus {
namespace {

constexpr int kDialsPerTurn = 32;                                // doc/protocol.md, section 7, for each session
constexpr std::uint64_t kMostDialling = 512;                     // of which one service alone has a half
constexpr Duration kDialPause = std::chrono::milliseconds(100);  // when descriptors ran out

}  // namespace

void DialQueue::add(const ServerRelay& relay) {
  LinkEntry& link = links_[relay.peer()];
  if (link.waiting.is_empty()) order_.push_back(relay.peer());
  link.waiting.push(relay.service(), relay.id());
  worker_.loop().go_on();
}

void DialQueue::on_targets() {
  for (OwnerId id : std::exchange(nameless_, {}))
    if (auto* relay = static_cast<ServerRelay*>(worker_.roster().find(id)))
      if (worker_.links().find(relay->peer())) add(*relay);
}

void DialQueue::on_begun(const ServerRelay& relay) {
  LinkEntry& link = links_[relay.peer()];
  link.dialing[relay.service()]++;
  link.all_dialing++;
}

void DialQueue::on_ended(const ServerRelay& relay) {
  auto found = links_.find(relay.peer());
  if (found == links_.end()) return;
  LinkEntry& link = found->second;
  auto its = link.dialing.find(relay.service());
  if (its == link.dialing.end()) return;
  if (--its->second == 0) link.dialing.erase(its);
  link.all_dialing--;
  if (!link.waiting.is_empty()) worker_.loop().go_on();
}

bool DialQueue::may_dial(const LinkEntry& link, ServiceId service) const {
  if (std::ranges::find(without_share_, service) != without_share_.end()) return false;
  auto its = link.dialing.find(service);
  return may_hold_more(its == link.dialing.end() ? 0 : its->second, link.all_dialing, kMostDialling);
}

// Out of descriptors: tried again when one may have come back.
void DialQueue::pause() {
  pause_until_ = worker_.now() + kDialPause;
  pause_timer_.set(pause_until_);
}

void DialQueue::run() {
  if (worker_.now() < pause_until_) return;
  without_share_.clear();
  for (std::size_t left = order_.size(); left > 0; left--) {
    PeerId id = order_.front();
    order_.pop_front();
    auto found = links_.find(id);
    if (found == links_.end()) continue;
    LinkEntry& link = found->second;
    dial_some(link);
    if (link.waiting.is_empty()) continue;
    order_.push_back(id);
    if (worker_.now() < pause_until_) return;
    // Otherwise the end of a dial is awaited.
    if (link.waiting.has([&](ServiceId service) { return may_dial(link, service); })) worker_.loop().go_on();
  }
  if (!without_share_.empty()) pause_timer_.set(worker_.now() + kDialPause);
}

void DialQueue::dial_some(LinkEntry& link) {
  auto may = [&](ServiceId service) { return may_dial(link, service); };
  for (int dials = 0; dials < kDialsPerTurn;) {
    auto next = link.waiting.take(may);
    if (!next) return;
    auto* relay = static_cast<ServerRelay*>(worker_.roster().find(next->second));
    if (!relay || !relay->is_waiting()) continue;  // reset in the meantime
    dials++;
    switch (relay->dial()) {
      case ServerRelay::Dialled::Begun: break;
      case ServerRelay::Dialled::NoAddress:
        relay->wait_again();
        nameless_.push_back(relay->id());
        break;
      case ServerRelay::Dialled::NoShare:
        relay->wait_again();
        link.waiting.push_front(relay->service(), relay->id());
        without_share_.push_back(relay->service());
        break;
      case ServerRelay::Dialled::NoDescriptor:
        relay->wait_again();
        link.waiting.push_front(relay->service(), relay->id());
        return pause();
    }
  }
}

}  // namespace cloudbus
