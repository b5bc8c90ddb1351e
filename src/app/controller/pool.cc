// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/controller/pool.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cloudbus/app/log/log.h"
#include "cloudbus/app/worker/worker.h"
#include "cloudbus/net/dialer.h"

namespace cloudbus {
namespace {

constexpr Duration kLongEnough = std::chrono::seconds(2);  // a link that lived so long was a good one
constexpr Duration kIdle = std::chrono::seconds(60);       // an extra link without a stream
constexpr Duration kLookIdle = std::chrono::seconds(10);   // how often it is looked for
constexpr std::size_t kMostAuto = 8;                       // links

}  // namespace

Pool::Pool(Worker& worker, const Address& address)
    : worker_(worker),
      address_(address),
      text_(address.to_string()),
      name_(Endpoint::of(address).to_string()),
      check_key_(worker.new_id()) {}

Pool::~Pool() { stop(); }

// --- The choice of a link ----------------------------------------------------------------------------------------

Peer* Pool::pick() {
  Peer* best = nullptr;
  auto cost = [this](Peer& peer) { return std::pair(may_grow_ && peer.is_congested(), peer.session().stream_count()); };
  for (Slot& slot : slots_) {
    Peer* peer = worker_.find_peer(slot.peer);
    if (!peer || peer->is_gone() || !peer->session().can_open()) continue;
    if (!best || cost(*peer) < cost(*best)) best = peer;
  }
  return best;
}

bool Pool::is_unresponsive() {
  bool has_link = false;
  for (Slot& slot : slots_) {
    Peer* peer = worker_.find_peer(slot.peer);
    if (!peer || !peer->session().is_established()) continue;
    if (!peer->is_unresponsive()) return false;
    has_link = true;
  }
  return has_link;
}

bool Pool::needs_more() {
  if (!may_grow_ || slots_.size() >= kMostAuto) return false;
  return std::ranges::all_of(slots_, [this](const Slot& slot) {
    Peer* peer = worker_.find_peer(slot.peer);
    if (!peer || peer->is_gone() || !peer->session().is_established()) return false;
    return peer->is_congested() || !peer->session().can_open();
  });
}

bool Pool::is_idle(Slot& slot) {
  Peer* peer = worker_.find_peer(slot.peer);
  if (!peer) return false;
  std::uint64_t opened = std::exchange(slot.opened, peer->session().streams_opened());
  if (slot.opened != opened || peer->session().stream_count() > 0) slot.idle_since = worker_.now();
  return worker_.now() - slot.idle_since >= kIdle;
}

void Pool::look_again(Slot& slot) {
  slot.armed = Time::max();
  worker_.timers().set(slot.key, worker_.now() + kLookIdle, slot.armed);
}

// --- Checks ------------------------------------------------------------------------------------------------------

void Pool::check(const HealthConfig& config) {
  if (!config.is_active() || (check_.is_active() && check_.every <= config.every)) return;
  check_ = config;
  checks_ = Health({config.fall, config.rise, true});
  checked_at_ = Time::max();
  worker_.timers().set(check_key_, worker_.now() + check_.every, check_armed_);
}

// One that answers since the last time is enough. Without a link there is nothing to say.
void Pool::on_check() {
  check_armed_ = Time::max();
  worker_.timers().set(check_key_, worker_.now() + check_.every, check_armed_);
  Time before = std::exchange(checked_at_, Time::max());
  bool was_asked = false, has_answer = false;
  for (Slot& slot : slots_) {
    Peer* peer = worker_.find_peer(slot.peer);
    if (!peer || peer->is_gone() || !peer->session().is_established()) continue;
    was_asked |= before != Time::max() && slot.up_since <= before;
    has_answer |= worker_.now() - peer->session().silent_since() < check_.every / 2;
    peer->session().check(worker_.now());
    worker_.touch(*peer);
    checked_at_ = worker_.now();
  }
  if (!was_asked) return;
  if (has_answer && checks_.on_success())
    log_line(LogLevel::Info, "link", "answers its checks again", {{"segment", name_}});
  if (!has_answer && checks_.on_failure(worker_.now()))
    log_line(LogLevel::Warning, "link", "is passed over: its checks are not answered",
             {{"segment", name_}, {"checks", static_cast<std::uint64_t>(check_.fall)}, {"every", check_.every}});
}

// --- Links -------------------------------------------------------------------------------------------------------

bool Pool::is_usable() const {
  return std::ranges::any_of(slots_, [](const Slot& slot) { return !slot.is_down; });
}

Pool::Slot& Pool::add_slot() { return slots_.emplace_back(worker_.new_id()); }

void Pool::remove_slot(Slot& slot) {
  worker_.timers().clear(slot.key, slot.armed);
  slots_.remove_if([&slot](const Slot& other) { return &other == &slot; });
}

Peer* Pool::dial(Slot& slot) {
  slot.armed = Time::max();
  Dial dialled = cloudbus::dial(address_);
  if (dialled.fd < 0) {
    on_lost(slot, std::strerror(dialled.error), false, 0);
    return nullptr;
  }
  Peer& peer = worker_.add_peer(dialled.fd, !dialled.connected, name_, nullptr);
  slot.peer = peer.id();
  peer.tells_congestion = may_grow_;
  return &peer;
}

void Pool::on_ready(Slot& slot, Peer& peer) {
  slot.up_since = worker_.now();
  slot.is_down = false;
  if (slot.is_extra) {
    slot.idle_since = worker_.now();
    look_again(slot);
  }
  log_line(LogLevel::Info, "link", "up",
           {{"segment", peer.name()}, {"link", peer.id()}, {"peer", peer.session().peer_hello().software}});
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
  worker_.timers().clear(check_key_, check_armed_);
}

}  // namespace cloudbus
