// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/worker/worker.h"

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <algorithm>

#include "cloudbus/app/link/random_bytes.h"
#include "cloudbus/app/log/log.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

namespace cloudbus {

Worker::Worker(std::shared_ptr<const Config> config, Shared& shared, std::size_t index)
    : config_(std::move(config)),
      shared_(shared),
      index_(index),
      budget_(config_->memory / static_cast<std::uint64_t>(config_->threads)),
      read_buffer_(kReadBuffer) {
  std::random_device device;
  std::seed_seq seed{device(), device(), device(), device()};
  random_.seed(seed);
}

Worker::~Worker() = default;

Hello Worker::hello(const ServiceConfig* service) const {
  Hello hello{.boot_id = shared_.boot_id, .software = "cloudbus " PACKAGE_VERSION};
  Duration wait = service ? service->resume : Duration::zero();
  if (!service)
    for (const ServiceConfig& any : config_->services) wait = std::max(wait, any.resume);
  if (wait == Duration::zero()) return hello;
  auto ms = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
  hello.resume = {.wait_ms = static_cast<std::uint32_t>(ms), .nonce = random_bytes<sizeof(Nonce)>()};
  if (config_->role == Role::Segment) hello.session = {random_bytes<sizeof(Uuid)>(), random_bytes<sizeof(Secret)>()};
  return hello;
}

// A stream may fill its window at once: with little memory the windows start smaller.
SessionLimits Worker::session_limits() const {
  SessionLimits limits;
  limits.initial_window =
      static_cast<std::uint32_t>(std::clamp<std::uint64_t>(budget_.limit() / 2048, kMinWindow, limits.initial_window));
  return limits;
}

Uuid Worker::new_conversation() {
  auto wall = std::chrono::system_clock::now().time_since_epoch();
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(wall).count();
  return make_uuid_v7(static_cast<std::uint64_t>(ms), {random_(), random_()});
}

void Worker::run() {
  role_->on_start();
  end_turn();
  loop_.run([this] { end_turn(); });
}

// --- What lives here ---------------------------------------------------------------------------------------------

Relay& Worker::add_relay(std::unique_ptr<Relay> relay) {
  Relay& added = *relay;
  relays_.emplace(added.id(), std::move(relay));
  return added;
}

Peer& Worker::add_peer(int fd, bool connecting, std::string name, const ServiceConfig* service) {
  PeerId id = new_id();
  auto peer = std::make_unique<Peer>(*this, id, config_->role, fd, connecting, std::move(name), service);
  return *peers_.emplace(id, std::move(peer)).first->second;
}

void Worker::add_builtin(Endpoint::Kind kind, int fd) {
  auto id = new_id();
  builtins_.emplace(id, std::make_unique<Builtin>(loop_, kind, fd, [this, id] { retired_builtins_.push_back(id); }));
}

Relay* Worker::find_relay(OwnerId id) {
  auto found = relays_.find(whole_owner(id));
  return found == relays_.end() ? nullptr : found->second.get();
}

Peer* Worker::find_peer(PeerId id) {
  auto found = peers_.find(id);
  return found == peers_.end() ? nullptr : found->second.get();
}

// --- The turn ----------------------------------------------------------------------------------------------------

void Worker::touch(Peer& peer) {
  if (peer.is_touched) return;
  peer.is_touched = true;
  touched_.push_back(peer.id());
}

void Worker::add_to_run(OwnerId leg, Bytes part, bool ends_frame) {
  if (leg != run_leg_ || run_count_ == kMostParts) flush_run();
  run_leg_ = leg;
  run_part_ = ends_frame ? 0 : run_part_ + part.size();
  run_[run_count_++] = {const_cast<std::byte*>(part.data()), part.size()};
  run_size_ += part.size();
}

void Worker::flush_run() {
  if (run_count_ == 0) return;
  int count = std::exchange(run_count_, 0);
  std::size_t size = std::exchange(run_size_, 0);
  std::size_t part = std::exchange(run_part_, 0);
  if (Relay* relay = find_relay(run_leg_)) relay->on_data(leg_of(run_leg_), run_, count, size, part);
}

void Worker::end_turn() {
  run_timers();
  for (Directory::Id id : directory_.run()) role_->on_targets(id);
  role_->on_turn_end();
  std::vector<PeerId> touched;
  touched.swap(touched_);
  for (PeerId id : touched) {
    Peer* peer = find_peer(id);
    if (!peer) continue;
    bool has_more = peer->flush();
    peer->is_touched = false;
    if (peer->is_gone()) {
      role_->on_peer_gone(*peer);
      peers_.erase(id);
    } else if (has_more) {
      touch(*peer);
    }
  }
  reap();
  check_drained();
  if (!touched_.empty()) loop_.go_on();
  loop_.set_alarm(timers_.next());
  log_flush();
}

void Worker::run_timers() {
  Timers::Key key;
  while (timers_.take_due(now(), key)) {
    if (Relay* relay = find_relay(key))
      relay->on_deadline(now());
    else if (Peer* peer = find_peer(key))
      peer->on_deadline(now());
    else if (key == look_key_)
      look_behind_relays();
    else if (key == link_totals_.key())
      link_totals_.log();
    else if (key == drain_key_)
      drain_armed_ = Time::max();  // check_drained() looks at the time
    else
      role_->on_timer(key);
  }
}

void Worker::look_behind_later(Relay& relay) {
  emptied_relays_.push_back(relay.id());
  if (look_armed_ == Time::max()) timers_.set(look_key_, now() + kLookBehindAfter, look_armed_);
}

void Worker::look_behind_relays() {
  look_armed_ = Time::max();
  std::erase_if(emptied_relays_, [this](OwnerId id) {
    Relay* relay = find_relay(id);
    return !relay || relay->look_behind(now());
  });
  if (emptied_relays_.empty()) return emptied_relays_.shrink_to_fit();  // there may have been very many
  timers_.set(look_key_, now() + kLookBehindAfter, look_armed_);
}

void Worker::reap() {
  for (OwnerId id : retired_relays_) relays_.erase(id);
  retired_relays_.clear();
  for (std::uint64_t id : retired_builtins_) builtins_.erase(id);
  retired_builtins_.clear();
}

// --- Draining ----------------------------------------------------------------------------------------------------

void Worker::drain(Time deadline, std::function<void()> on_done) {
  if (draining_) return;
  draining_ = true;
  drain_deadline_ = deadline;
  on_drained_ = std::move(on_done);
  drain_key_ = new_id();
  timers_.set(drain_key_, deadline, drain_armed_);
  role_->on_drain();
  loop_.go_on();
}

void Worker::abort_everything() {
  for (auto& [id, relay] : relays_)
    if (!relay->is_closed()) relay->abort(StreamCode::DrainTimeout);
  for (auto& [id, peer] : peers_) {
    peer->close(LinkCode::Shutdown, "the process ends");
    peer->flush();
  }
  reap();
  link_totals_.log();
  log_flush();
}

void Worker::check_drained() {
  if (!draining_ || !on_drained_) return;
  bool expired = now() >= drain_deadline_;
  if (!expired && !(relays_.empty() && role_->is_drained())) return;
  timers_.clear(drain_key_, drain_armed_);
  abort_everything();
  std::exchange(on_drained_, nullptr)();
}

void Worker::end_now() {
  abort_everything();
  loop_.stop();
}

}  // namespace cloudbus
