// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/controller/pool.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cloudbus/app/log/log.h"
#include "cloudbus/net/dialer.h"

namespace cloudbus {
namespace {

constexpr Duration kLongEnough = std::chrono::seconds(2);       // a link that lived so long was a good one
constexpr Duration kIdle = std::chrono::seconds(60);            // an extra link without a stream
constexpr Duration kLookIdle = std::chrono::seconds(10);        // how often it is looked for
constexpr std::size_t kMostAuto = 8;                            // links
constexpr Duration kTellEvery = std::chrono::minutes(1);        // that a link is down
constexpr Duration kDialApart = std::chrono::milliseconds(50);  // however many clients come

}  // namespace

Pool::Pool(Context& context, Links& links, const Address& address, OnTime on_time)
    : context_(context),
      links_(links),
      on_time_(std::move(on_time)),
      address_(address),
      text_(address.to_string()),
      name_(Endpoint::of(address).to_string()) {}

// --- The choice of a link ----------------------------------------------------------------------------------------

Peer* Pool::pick() {
  Peer* best = nullptr;
  auto cost = [this](Peer& peer) { return std::pair(may_grow_ && peer.is_congested(), peer.session().stream_count()); };
  for (Slot& slot : slots_) {
    Peer* peer = links_.find(slot.peer);
    if (!peer || peer->is_gone() || !peer->session().can_open()) continue;
    if (!best || cost(*peer) < cost(*best)) best = peer;
  }
  return best;
}

bool Pool::is_unresponsive() {
  bool has_link = false;
  for (Slot& slot : slots_) {
    Peer* peer = links_.find(slot.peer);
    if (!peer || !peer->session().is_established()) continue;
    if (!peer->is_unresponsive()) return false;
    has_link = true;
  }
  return has_link;
}

bool Pool::needs_more() {
  if (!may_grow_ || slots_.size() >= kMostAuto) return false;
  return std::ranges::all_of(slots_, [this](const Slot& slot) {
    Peer* peer = links_.find(slot.peer);
    if (!peer || peer->is_gone() || !peer->session().is_established()) return false;
    return peer->is_congested() || !peer->session().can_open();
  });
}

bool Pool::is_idle(Slot& slot) {
  Peer* peer = links_.find(slot.peer);
  if (!peer) return false;
  std::uint64_t opened = std::exchange(slot.opened, peer->session().streams_opened());
  if (slot.opened != opened || peer->session().stream_count() > 0) slot.idle_since = context_.now();
  return context_.now() - slot.idle_since >= kIdle;
}

void Pool::look_again(Slot& slot) { slot.timer.set(context_.now() + kLookIdle); }

// --- Checks ------------------------------------------------------------------------------------------------------

void Pool::check(const HealthConfig& config) {
  if (config == check_) return;
  check_ = config;
  checks_ = Health({config.fall, config.rise, true});
  checked_at_ = Time::max();
  check_timer_.set(config.is_active() ? context_.now() + check_.every : Time::max());
}

// One that answers since the last time is enough. Without a link there is nothing to say.
void Pool::on_check() {
  check_timer_.set(context_.now() + check_.every);
  Time before = std::exchange(checked_at_, Time::max());
  bool was_asked = false, has_answer = false;
  for (Slot& slot : slots_) {
    Peer* peer = links_.find(slot.peer);
    if (!peer || peer->is_gone() || !peer->session().is_established()) continue;
    was_asked |= before != Time::max() && slot.up_since <= before;
    has_answer |= context_.now() - peer->session().silent_since() < check_.every / 2;
    peer->session().check(context_.now());
    links_.touch(*peer);
    checked_at_ = context_.now();
  }
  if (!was_asked) return;
  if (has_answer && checks_.on_success())
    log_line(LogLevel::Info, "link", "answers its checks again", {{"segment", name_}});
  if (!has_answer && checks_.on_failure(context_.now()))
    log_line(LogLevel::Warning, "link", "is passed over: its checks are not answered",
             {{"segment", name_}, {"checks", static_cast<std::uint64_t>(check_.fall)}, {"every", check_.every}});
}

// --- Links -------------------------------------------------------------------------------------------------------

bool Pool::is_usable() const {
  return std::ranges::any_of(slots_, [](const Slot& slot) { return !slot.is_down; });
}

bool Pool::is_hopeless(Time since, Duration patience) const {
  return std::ranges::all_of(slots_, [&](const Slot& slot) {
    bool has_failed_since = slot.peer == 0 && slot.dialled_at >= since;
    bool is_long_down = slot.is_down && context_.now() - slot.down_since > patience;
    return slot.is_down && (slot.is_refused || (is_long_down && has_failed_since));
  });
}

std::vector<Pool::Slot*> Pool::due_slots() {
  std::vector<Slot*> due;
  for (Slot& slot : slots_)
    if (slot.peer == 0 && slot.timer.is_set() && context_.now() - slot.dialled_at >= kDialApart) due.push_back(&slot);
  return due;
}

void Pool::set_growing(bool may_grow) {
  if (may_grow_ == may_grow) return;
  may_grow_ = may_grow;
  for (Slot& slot : slots_)
    if (Peer* peer = links_.find(slot.peer)) peer->tells_congestion = may_grow;
}

std::size_t Pool::kept_slots() const {
  return static_cast<std::size_t>(std::ranges::count(slots_, false, &Slot::is_extra));
}

Pool::Slot& Pool::last_kept_slot() {
  return *std::find_if(slots_.rbegin(), slots_.rend(), [](const Slot& slot) { return !slot.is_extra; });
}

Pool::Slot& Pool::add_slot(bool is_extra) {
  Slot& slot = slots_.emplace_back(context_.timers(), [this](Slot& its) { on_time_(*this, its); });
  slot.is_extra = is_extra;
  return slot;
}

void Pool::remove_slot(Slot& slot) {
  slots_.remove_if([&slot](const Slot& other) { return &other == &slot; });
}

Peer* Pool::dial(Slot& slot) {
  slot.dialled_at = context_.now();
  slot.timer.clear();
  Dial dialled = cloudbus::dial(address_);
  if (dialled.fd < 0) {
    on_lost(slot, std::strerror(dialled.error), false, 0, false);
    return nullptr;
  }
  Peer& peer = links_.add(dialled.fd, !dialled.connected, name_);
  slot.peer = peer.id();
  peer.tells_congestion = may_grow_;
  return &peer;
}

void Pool::on_established(Slot& slot, Peer& peer) {
  slot.up_since = context_.now();
  slot.is_down = slot.is_refused = false;
  if (slot.is_extra) {
    slot.idle_since = context_.now();
    look_again(slot);
  }
  log_line(LogLevel::Info, "link", "up",
           {{"segment", peer.name()},
            {"link", peer.id()},
            {"session", peer.session_name()},
            {"peer", peer.session().peer_hello().software}});
}

// Returns how long it waits.
Duration Pool::dial_later(Slot& slot) {
  slot.peer = 0;
  if (context_.now() - std::exchange(slot.up_since, Time::max()) > kLongEnough) {
    slot.backoff.reset();
    slot.last_error.clear();
  }
  Duration wait = slot.backoff.next(context_.random());
  slot.timer.set(context_.now() + wait);
  return wait;
}

void Pool::on_lost(Slot& slot, const std::string& reason, bool was_up, std::size_t lost_streams, bool is_final) {
  Duration wait = dial_later(slot);
  if (!std::exchange(slot.is_down, true)) slot.down_since = context_.now();
  slot.is_refused = is_final;
  bool is_told = !was_up && reason == slot.last_error && context_.now() - slot.told_at < kTellEvery;
  auto level = is_told ? LogLevel::Debug : LogLevel::Warning;
  slot.last_error = reason;
  if (!is_told) slot.told_at = context_.now();
  log_line(level, "link", was_up ? "lost" : "cannot be made",
           {{"segment", name_}, {"reason", reason}, {"streams", lost_streams}, {"retry", wait}});
}

void Pool::replace(Slot& slot) { dial_later(slot); }

void Pool::stop() {
  for (Slot& slot : slots_) slot.timer.clear();
  check_timer_.clear();
}

}  // namespace cloudbus
