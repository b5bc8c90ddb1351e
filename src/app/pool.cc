// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/pool.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cloudbus/app/log.h"
#include "cloudbus/app/worker.h"
#include "cloudbus/net/dialer.h"

namespace cloudbus {
namespace {

constexpr Duration kLongEnough = std::chrono::seconds(2);  // a link that lived so long was a good one

}  // namespace

Pool::Pool(Worker& worker, const Address& address)
    : worker_(worker), address_(address), text_(address.to_string()), name_(Endpoint::of(address).to_string()) {}

Pool::~Pool() { stop(); }

Peer* Pool::pick() {
  Peer* best = nullptr;
  for (Slot& slot : slots_) {
    Peer* peer = worker_.find_peer(slot.peer);
    if (!peer || peer->is_gone() || !peer->session().can_open()) continue;
    if (!best || peer->session().stream_count() < best->session().stream_count()) best = peer;
  }
  return best;
}

bool Pool::is_usable() const {
  return std::ranges::any_of(slots_, [](const Slot& slot) { return !slot.is_down; });
}

Pool::Slot& Pool::add_slot() { return slots_.emplace_back(worker_.new_id()); }

Peer* Pool::dial(Slot& slot) {
  slot.armed = Time::max();
  Dial dialled = cloudbus::dial(address_);
  if (dialled.fd < 0) {
    on_lost(slot, std::strerror(dialled.error), false, 0);
    return nullptr;
  }
  Peer& peer = worker_.add_peer(dialled.fd, !dialled.connected, name_, nullptr);
  slot.peer = peer.id();
  return &peer;
}

void Pool::on_ready(Slot& slot, Peer& peer) {
  slot.up_since = worker_.now();
  slot.is_down = false;
  log_line(LogLevel::Info, "link", "up",
           {{"segment", peer.name()}, {"link", peer.id()}, {"peer", peer.session().peer().software}});
}

// Returns how long it waits.
Duration Pool::dial_later(Slot& slot) {
  slot.peer = 0;
  if (worker_.now() - std::exchange(slot.up_since, Time::max()) > kLongEnough) {
    slot.backoff.reset();
    slot.last_error.clear();
  }
  Duration wait = slot.backoff.next(worker_.random());
  worker_.timers().set(slot.key, worker_.now() + wait, slot.armed);
  return wait;
}

void Pool::on_lost(Slot& slot, const std::string& reason, bool was_up, std::size_t lost_streams) {
  Duration wait = dial_later(slot);
  slot.is_down = true;
  auto level = was_up || reason != slot.last_error ? LogLevel::Warning : LogLevel::Debug;
  slot.last_error = reason;
  log_line(level, "link", was_up ? "lost" : "cannot be made",
           {{"segment", name_}, {"reason", reason}, {"streams", lost_streams}, {"retry", wait}});
}

void Pool::replace(Slot& slot) { dial_later(slot); }

void Pool::stop() {
  for (Slot& slot : slots_) worker_.timers().clear(slot.key, slot.armed);
}

}  // namespace cloudbus
