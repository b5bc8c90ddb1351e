// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/controller.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cloudbus/app/log.h"
#include "cloudbus/net/dialer.h"

namespace cloudbus {
namespace {

constexpr Duration kLongEnough = std::chrono::seconds(2);  // a link that lived so long was a good one

}  // namespace

Controller::Controller(Worker& worker) : worker_(worker) {
  for (const ServiceConfig& service : worker.config().services) {
    Pool& pool = pools_.try_emplace(service.servers.front().endpoint.to_string(), Pool{service.servers.front().endpoint, {}, {}}).first->second;
    pool_by_service_[&service] = &pool;
    while (pool.slots.size() < static_cast<std::size_t>(service.links)) pool.slots.emplace_back(worker.new_id());
  }
  for (auto& [text, pool] : pools_)
    for (Slot& slot : pool.slots) slot_by_key_[slot.key] = {&pool, &slot};
}

Controller::~Controller() {
  for (auto& [key, place] : slot_by_key_) worker_.timers().clear(key, place.second->armed);
}

void Controller::on_start() {
  for (auto& [text, pool] : pools_)
    for (Slot& slot : pool.slots) dial(pool, slot);
}

// --- Clients -----------------------------------------------------------------------------------------------------

void Controller::on_client(const ServiceConfig& service, int fd, const Address& address) {
  Relay& relay = worker_.add_relay(std::make_unique<Relay>(worker_, worker_.new_id(), service, fd, address));
  Pool& pool = *pool_by_service_.at(&service);
  if (Peer* peer = pool.waiting.empty() ? pick(pool) : nullptr)
    relay.open_on(*peer);
  else
    pool.waiting.push_back(relay.id());
}

// The session with the fewest streams, of those that take one.
Peer* Controller::pick(Pool& pool) {
  Peer* best = nullptr;
  for (Slot& slot : pool.slots) {
    Peer* peer = worker_.find_peer(slot.peer);
    if (!peer || peer->is_gone() || !peer->session().can_open()) continue;
    if (!best || peer->session().stream_count() < best->session().stream_count()) best = peer;
  }
  return best;
}

void Controller::serve_waiting(Pool& pool) {
  while (!pool.waiting.empty()) {
    Relay* relay = worker_.find_relay(pool.waiting.front());
    if (relay && relay->is_waiting()) {
      Peer* peer = pick(pool);
      if (!peer) return;
      relay->open_on(*peer);
    }
    pool.waiting.pop_front();
  }
}

// --- Links -------------------------------------------------------------------------------------------------------

void Controller::dial(Pool& pool, Slot& slot) {
  if (draining_) return;
  Dial dialled = cloudbus::dial(pool.endpoint.address);
  if (dialled.fd < 0) return dial_later(pool, slot, std::strerror(dialled.error), false, 0);
  Peer& peer = worker_.add_peer(dialled.fd, !dialled.connected, pool.endpoint.to_string(), nullptr);
  slot.peer = peer.id();
  slot_by_peer_[peer.id()] = {&pool, &slot};
}

// Returns how long it waits.
Duration Controller::dial_again(Slot& slot) {
  slot.peer = 0;
  if (worker_.now() - std::exchange(slot.up_since, Time::max()) > kLongEnough) {
    slot.backoff.reset();
    slot.last_error.clear();
  }
  Duration wait = slot.backoff.next(worker_.random());
  worker_.timers().set(slot.key, worker_.now() + wait, slot.armed);
  return wait;
}

void Controller::dial_later(Pool& pool, Slot& slot, const std::string& error, bool was_up, std::size_t lost_streams) {
  if (draining_) return;
  Duration wait = dial_again(slot);
  auto level = was_up || error != slot.last_error ? LogLevel::Warning : LogLevel::Debug;
  slot.last_error = error;
  log_line(level, "link", was_up ? "lost" : "cannot be made",
           {{"segment", pool.endpoint.to_string()}, {"reason", error}, {"streams", lost_streams}, {"retry", wait}});
}

void Controller::on_timer(Timers::Key key) {
  auto found = slot_by_key_.find(key);
  if (found == slot_by_key_.end()) return;
  auto [pool, slot] = found->second;
  slot->armed = Time::max();
  dial(*pool, *slot);
}

void Controller::on_peer_ready(Peer& peer) {
  auto [pool, slot] = slot_by_peer_.at(peer.id());
  slot->up_since = worker_.now();
  log_line(LogLevel::Info, "link", "up",
           {{"segment", peer.name()}, {"link", peer.id()}, {"peer", peer.session().peer().software}});
  serve_waiting(*pool);
}

void Controller::on_room_for_streams(Peer& peer) {
  auto found = slot_by_peer_.find(peer.id());
  if (found != slot_by_peer_.end()) serve_waiting(*found->second.first);
}

void Controller::on_going_away(Peer& peer) {
  log_line(LogLevel::Info, "link", "is draining: the segment takes no new streams", {{"segment", peer.name()}});
  auto found = slot_by_peer_.find(peer.id());
  if (found == slot_by_peer_.end()) return;
  auto [pool, slot] = found->second;
  if (draining_) return;
  slot_by_peer_.erase(found);  // it lives on for its streams, and another link takes its place
  dial_again(*slot);
}

void Controller::on_peer_gone(Peer& peer) {
  auto found = slot_by_peer_.find(peer.id());
  if (found == slot_by_peer_.end()) {  // it was draining
    log_line(LogLevel::Info, "link", "drained",
             {{"segment", peer.name()}, {"reason", peer.reason()}, {"streams", peer.lost_streams()}});
    return;
  }
  auto [pool, slot] = found->second;
  slot_by_peer_.erase(found);
  dial_later(*pool, *slot, peer.reason(), peer.was_ready(), peer.lost_streams());
}

void Controller::on_drain() {
  draining_ = true;
  for (auto& [text, pool] : pools_)
    for (Slot& slot : pool.slots) worker_.timers().clear(slot.key, slot.armed);
}

}  // namespace cloudbus
