// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/controller.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cloudbus/app/client_name.h"
#include "cloudbus/app/log.h"
#include "cloudbus/net/dialer.h"

namespace cloudbus {
namespace {

constexpr Duration kLongEnough = std::chrono::seconds(2);  // a link that lived so long was a good one

}  // namespace

Controller::Controller(Worker& worker) : worker_(worker) {
  for (const ServiceConfig& service : worker.config().services) {
    std::vector<std::string> names;
    std::vector<Pool*> pools;
    for (const ServerConfig& server : service.servers) {
      std::string name = server.endpoint.to_string();
      Pool& pool = pools_.try_emplace(name, Pool{server.endpoint, {}, {}}).first->second;
      while (pool.slots.size() < static_cast<std::size_t>(service.links)) pool.slots.emplace_back(worker.new_id());
      pools.push_back(&pool);
      names.push_back(std::move(name));
    }
    services_.try_emplace(&service, Service{Balance(service.balance, names, worker.index()), std::move(pools)});
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
  auto made = std::make_unique<ClientRelay>(*this, worker_, worker_.new_id(), service, fd, address);
  auto& relay = static_cast<ClientRelay&>(worker_.add_relay(std::move(made)));
  if (begin(relay)) return;
  for (Pool* pool : services_.at(&service).pools) wait(*pool, {relay.id(), std::nullopt});
}

// False while the links that it needs are not there.
bool Controller::begin(ClientRelay& relay) {
  const ServiceConfig& config = relay.service();
  Service& service = services_.at(&config);
  if (config.mode == Mode::OneToOne) {
    Peer* peer = pick(*service.pools.front());
    if (peer) relay.open_on(*peer);
    return peer;
  }
  auto has_link = [this](Pool* pool) { return pick(*pool) != nullptr; };
  if (std::ranges::count_if(service.pools, has_link) < static_cast<std::ptrdiff_t>(config.fanout.quorum)) return false;
  std::vector<ServerIndex> order;
  service.balance.order(hash_key(relay.client()), worker_.random_bits(), order);
  std::erase_if(order, [&service](ServerIndex server) { return !service.pools[server]->is_usable(); });
  relay.start_legs(std::move(order));
  return true;
}

void Controller::wait(Pool& pool, const Pool::Waiting& waiting) {
  pool.waiting.push_back(waiting);
  if (pool.waiting.size() < pool.look_at) return;
  std::erase_if(pool.waiting, [this](const Pool::Waiting& other) { return !is_waiting(other); });
  pool.look_at = std::max<std::size_t>(64, 2 * pool.waiting.size());
}

bool Controller::is_waiting(const Pool::Waiting& waiting) {
  auto* relay = static_cast<ClientRelay*>(worker_.find_relay(waiting.relay));
  if (!relay) return false;
  return waiting.leg ? relay->is_waiting(*waiting.leg) : relay->is_new();
}

void Controller::open_leg(ClientRelay& relay, LegId leg, ServerIndex server) {
  Pool& pool = *services_.at(&relay.service()).pools[server];
  if (Peer* peer = pick(pool)) return relay.open_leg_on(leg, *peer);
  if (!pool.is_usable()) return relay.leg_unreachable(leg);
  wait(pool, {relay.id(), leg});
}

bool Controller::Pool::is_usable() const {
  return std::ranges::any_of(slots, [](const Slot& slot) { return !slot.is_down; });
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

// False when there is no link for it. Whoever waits no more is served.
bool Controller::serve(Pool& pool, const Pool::Waiting& waiting) {
  if (!is_waiting(waiting)) return true;
  auto& relay = static_cast<ClientRelay&>(*worker_.find_relay(waiting.relay));
  if (!waiting.leg) return begin(relay);
  Peer* peer = pick(pool);
  if (peer) relay.open_leg_on(*waiting.leg, *peer);
  return peer;
}

void Controller::serve_waiting(Pool& pool) {
  std::deque<Pool::Waiting> left;
  while (!pool.waiting.empty() && pick(pool)) {
    Pool::Waiting first = pool.waiting.front();
    pool.waiting.pop_front();
    if (!serve(pool, first)) left.push_back(first);  // it waits for another server
  }
  pool.waiting.insert(pool.waiting.begin(), left.begin(), left.end());
}

// The segment is out of reach: the legs that wait for it have others beside them, or in their place.
void Controller::give_up_legs(Pool& pool) {
  std::deque<Pool::Waiting> legs;
  for (const Pool::Waiting& waiting : pool.waiting)
    if (waiting.leg) legs.push_back(waiting);
  std::erase_if(pool.waiting, [](const Pool::Waiting& waiting) { return waiting.leg.has_value(); });
  for (const Pool::Waiting& waiting : legs)
    if (is_waiting(waiting))
      static_cast<ClientRelay&>(*worker_.find_relay(waiting.relay)).leg_unreachable(*waiting.leg);
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
  slot.is_down = true;
  if (!pool.is_usable()) give_up_legs(pool);
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
  slot->is_down = false;
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
