// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/controller/controller.h"

#include <algorithm>
#include <utility>

#include "cloudbus/app/log/client_name.h"
#include "cloudbus/app/log/log.h"

namespace cloudbus {
namespace {

// Between pings of one link beside the streams that are opened.
constexpr Duration kCheckApart = std::chrono::milliseconds(100);

}  // namespace

Controller::Controller(Worker& worker) : worker_(worker), resumer_(worker) {
  for (const ServiceConfig& service : worker.config().services) {
    std::vector<std::string> names;
    std::vector<Upstream*> servers;
    for (const ServerConfig& server : service.servers) {
      std::string name = server.endpoint.to_string();
      Upstream& upstream = upstreams_[name];
      upstream.endpoint = server.endpoint;
      upstream.links = std::max(upstream.links, service.links);
      upstream.has_extra |= service.links == 0;
      bool is_sooner = !upstream.health.is_active() || service.health.every < upstream.health.every;
      if (service.health.is_active() && is_sooner) upstream.health = service.health;
      upstream.is_lazy |= service.refresh == Refresh::Lazy;
      servers.push_back(&upstream);
      names.push_back(std::move(name));
    }
    services_.try_emplace(&service, Service{Balance(service.balance, names, worker.index()), std::move(servers)});
  }
}

void Controller::on_start() {
  for (auto& [name, upstream] : upstreams_) {
    upstream.id = worker_.directory().watch(upstream.endpoint, upstream.is_lazy);
    upstream_by_id_[upstream.id] = &upstream;
    update(upstream);
  }
}

// --- Clients -----------------------------------------------------------------------------------------------------

void Controller::on_client(const ServiceConfig& service, int fd, const Address& address) {
  auto made = std::make_unique<ClientRelay>(*this, worker_, worker_.new_id(), service, fd, address);
  auto& relay = static_cast<ClientRelay&>(worker_.add_relay(std::move(made)));
  if (begin(relay)) return;
  for (Upstream* server : services_.at(&service).servers) wait(*server, {relay.id(), std::nullopt});
}

// False while the links that it needs are not there, or names are being asked for on its behalf.
bool Controller::begin(ClientRelay& relay) {
  const ServiceConfig& config = relay.service();
  Service& service = services_.at(&config);
  bool is_renewing = false;
  for (Upstream* server : service.servers)
    if (!server->is_lazy) is_renewing |= worker_.directory().renew(server->id);
  if (is_renewing) return false;
  auto has_a_link = [this](Upstream* server) { return has_link(*server); };
  if (std::ranges::count_if(service.servers, has_a_link) < static_cast<std::ptrdiff_t>(config.fanout.quorum)) {
    for (Upstream* server : service.servers) grow(*server);
    return false;
  }
  if (config.mode == Mode::OneToOne && service.servers.front()->pools.size() == 1) {
    Pool& pool = *service.servers.front()->pools.front();
    relay.open_on(*pool.pick());
    grow(pool);
    return true;
  }
  std::vector<ServerIndex> order;
  service.balance.order(hash_key(relay.client()), worker_.random_bits(), order);
  std::erase_if(order, [&](ServerIndex server) { return !is_usable(*service.servers[server]); });
  if (config.mode == Mode::Balance)
    std::stable_partition(order.begin(), order.end(),
                          [&](ServerIndex server) { return is_lively(*service.servers[server]); });
  relay.start_legs(std::move(order));
  return true;
}

void Controller::open_leg(ClientRelay& relay, LegId leg, ServerIndex server) {
  Upstream& upstream = *services_.at(&relay.service()).servers[server];
  if (Peer* peer = pick(upstream, relay.tried(leg))) return open_on(relay, leg, *peer);
  if (!is_usable(upstream)) return relay.leg_unreachable(leg);
  grow(upstream);
  wait(upstream, {relay.id(), leg});
}

// The ping beside it tells soon whether somebody is there.
void Controller::open_on(ClientRelay& relay, LegId leg, Peer& peer) {
  Pool& pool = *place_by_peer_.at(peer.id()).pool;
  peer.session().check(worker_.now(), kCheckApart);
  relay.open_leg_on(leg, peer, pool.address_text());
  grow(pool);
}

bool Controller::has_other_address(const ClientRelay& relay, LegId leg, ServerIndex server) {
  const Upstream& upstream = *services_.at(&relay.service()).servers[server];
  return std::ranges::any_of(upstream.pools, [&](Pool* pool) {
    bool was_tried = pool->address_text() == relay.address(leg) ||
                     std::ranges::find(relay.tried(leg), pool->address_text()) != relay.tried(leg).end();
    return !was_tried && pool->pick();
  });
}

// --- The choice of a link ----------------------------------------------------------------------------------------

bool Controller::has_link(const Upstream& upstream) const {
  return std::ranges::any_of(upstream.pools, [](Pool* pool) { return pool->pick() != nullptr; });
}

bool Controller::is_usable(const Upstream& upstream) const {
  if (!worker_.directory().is_known(upstream.id)) return !worker_.directory().is_in_trouble(upstream.id);
  return std::ranges::any_of(upstream.pools, &Pool::is_usable);
}

// An address of it can be had now, and nothing speaks against it.
bool Controller::is_lively(const Upstream& upstream) const {
  return std::ranges::any_of(upstream.pools, [this](Pool* pool) {
    return pool->is_in(worker_.now()) && !pool->is_unresponsive() && pool->pick();
  });
}

// Of the addresses that can be had and answer, so that the turns of one that cannot are shared by all others. With all
// of them out, all are tried.
Peer* Controller::pick(Upstream& upstream, std::span<const std::string> tried) {
  auto draw = [this](std::uint64_t n) { return worker_.random_bits() % n; };
  const Targets& targets = worker_.directory().targets(upstream.id);
  enum class Allowed { Good, Unresponsive, All };
  for (Allowed allowed : {Allowed::Good, Allowed::Unresponsive, Allowed::All}) {
    std::vector<Pool*> pools;
    std::vector<std::uint32_t> record_of;
    for (std::size_t place = 0; place < upstream.pools.size(); place++) {
      Pool& pool = *upstream.pools[place];
      if (allowed != Allowed::All && !pool.is_in(worker_.now())) continue;
      if (allowed == Allowed::Good && pool.is_unresponsive()) continue;
      if (std::ranges::find(tried, pool.address_text()) != tried.end() || !pool.pick()) continue;
      pools.push_back(&pool);
      record_of.push_back(targets.record_of[place]);
    }
    if (pools.empty()) continue;
    Pool& chosen = *pools[upstream.choice.order(record_of, targets.records, draw).front()];
    chosen.health.begin(worker_.now());
    return chosen.pick();
  }
  return nullptr;
}

void Controller::on_served(PeerId peer) {
  auto found = place_by_peer_.find(peer);
  if (found == place_by_peer_.end() || !found->second.pool->health.on_success()) return;
  log_line(LogLevel::Info, "link", "serves again", {{"segment", found->second.pool->name()}});
}

void Controller::on_refused(PeerId peer, StreamCode code) {
  auto found = place_by_peer_.find(peer);
  if (found == place_by_peer_.end()) return;
  Pool& pool = *found->second.pool;
  if (!pool.health.on_failure(worker_.now())) return;
  log_line(LogLevel::Warning, "link", "is passed over: it refused several clients in a row",
           {{"segment", pool.name()}, {"reason", std::string(name_of(code))}, {"retry", pool.health.out_for()}});
}

// --- Waiting -----------------------------------------------------------------------------------------------------

void Controller::wait(Upstream& upstream, const Waiting& waiting) {
  upstream.waiting.push_back(waiting);
  if (upstream.waiting.size() < upstream.look_at) return;
  std::erase_if(upstream.waiting, [this](const Waiting& other) { return !is_waiting(other); });
  upstream.look_at = std::max<std::size_t>(64, 2 * upstream.waiting.size());
}

bool Controller::is_waiting(const Waiting& waiting) {
  auto* relay = static_cast<ClientRelay*>(worker_.find_relay(waiting.relay));
  if (!relay) return false;
  return waiting.leg ? relay->is_waiting(*waiting.leg) : relay->is_new();
}

// False when there is no link for it. Whoever waits no more is served.
bool Controller::serve(Upstream& upstream, const Waiting& waiting) {
  if (!is_waiting(waiting)) return true;
  auto& relay = static_cast<ClientRelay&>(*worker_.find_relay(waiting.relay));
  if (!waiting.leg) return begin(relay);
  Peer* peer = pick(upstream, relay.tried(*waiting.leg));
  if (peer) open_on(relay, *waiting.leg, *peer);
  return peer;
}

void Controller::serve_waiting(Upstream& upstream) {
  std::deque<Waiting> left;
  while (!upstream.waiting.empty() && has_link(upstream)) {
    Waiting first = upstream.waiting.front();
    upstream.waiting.pop_front();
    if (!serve(upstream, first)) left.push_back(first);  // it waits for another server
  }
  upstream.waiting.insert(upstream.waiting.begin(), left.begin(), left.end());
}

// The server is out of reach: the legs that wait for it have others beside them, or in their place.
void Controller::give_up_legs(Upstream& upstream) {
  std::deque<Waiting> legs;
  for (const Waiting& waiting : upstream.waiting)
    if (waiting.leg) legs.push_back(waiting);
  std::erase_if(upstream.waiting, [](const Waiting& waiting) { return waiting.leg.has_value(); });
  for (const Waiting& waiting : legs)
    if (is_waiting(waiting))
      static_cast<ClientRelay&>(*worker_.find_relay(waiting.relay)).leg_unreachable(*waiting.leg);
}

// --- Addresses ---------------------------------------------------------------------------------------------------

void Controller::on_targets(Directory::Id id) {
  auto found = upstream_by_id_.find(id);
  if (found == upstream_by_id_.end()) return;
  update(*found->second);
  // Who has waited for the answer may be served by another server.
  if (!found->second->is_lazy)
    for (auto& [name, upstream] : upstreams_) serve_waiting(upstream);
}

// The addresses of a server are what the directory says: links to new ones are made, links to those that are no more
// end with their streams.
void Controller::update(Upstream& upstream) {
  if (draining_) return;
  std::vector<Pool*> before = std::move(upstream.pools);
  upstream.pools.clear();
  for (const Address& address : worker_.directory().targets(upstream.id).addresses)
    upstream.pools.push_back(&use_pool(upstream, address));
  for (Pool* pool : before)
    if (std::ranges::find(upstream.pools, pool) == upstream.pools.end()) leave_pool(upstream, *pool);
  serve_waiting(upstream);
  if (!is_usable(upstream)) give_up_legs(upstream);
}

Pool& Controller::use_pool(Upstream& upstream, const Address& address) {
  PoolEntry& entry = pools_[address.to_string()];
  if (!entry.pool) entry.pool = std::make_unique<Pool>(worker_, address);
  if (std::ranges::find(entry.users, &upstream) == entry.users.end()) entry.users.push_back(&upstream);
  Pool& pool = *entry.pool;
  if (upstream.has_extra) pool.grow();
  pool.check(upstream.health);
  pool_by_check_[pool.check_key()] = &pool;
  while (pool.slots().size() < static_cast<std::size_t>(upstream.links)) add_link(pool, false);
  return pool;
}

void Controller::add_link(Pool& pool, bool is_extra) {
  Pool::Slot& slot = pool.add_slot();
  slot.is_extra = is_extra;
  place_by_key_[slot.key] = {&pool, &slot};
  dial(pool, slot);
}

// An extra one that is not needed any more, or could not be had.
void Controller::remove_link(Pool& pool, Pool::Slot& slot) {
  place_by_key_.erase(slot.key);
  drain_link(slot.peer);
  pool.remove_slot(slot);
}

void Controller::grow(Pool& pool) {
  if (draining_ || !pool.needs_more()) return;
  log_line(LogLevel::Info, "link", "is joined by another: there was no room on it",
           {{"segment", pool.name()}, {"links", std::uint64_t{pool.slots().size()}}});
  add_link(pool, true);
}

void Controller::grow(Upstream& upstream) {
  for (Pool* pool : upstream.pools) grow(*pool);
}

// The link ends with its streams.
void Controller::drain_link(PeerId id) {
  place_by_peer_.erase(id);
  Peer* peer = worker_.find_peer(id);
  if (!peer) return;
  if (peer->session().is_established() || peer->is_detached())
    peer->session().drain(worker_.now());
  else
    peer->close(LinkCode::NoError, "it is not needed any more");
  worker_.touch(*peer);
  leaving_.push_back(peer->id());
}

void Controller::leave_pool(Upstream& upstream, Pool& pool) {
  auto entry = pools_.find(pool.address_text());
  std::erase(entry->second.users, &upstream);
  if (!entry->second.users.empty()) return;
  log_line(LogLevel::Info, "link", "is drained: its address is no more", {{"segment", pool.name()}});
  for (Pool::Slot& slot : pool.slots()) {
    place_by_key_.erase(slot.key);
    drain_link(slot.peer);
  }
  pool_by_check_.erase(pool.check_key());
  pools_.erase(entry);
}

void Controller::on_turn_end() {
  std::erase_if(leaving_, [this](PeerId id) {
    Peer* peer = worker_.find_peer(id);
    if (!peer || peer->session().is_closed()) return true;
    if (!peer->session().is_drained()) return false;
    peer->close(LinkCode::NoError, "drained");
    worker_.touch(*peer);
    return true;
  });
}

// --- Links -------------------------------------------------------------------------------------------------------

void Controller::dial(Pool& pool, Pool::Slot& slot) {
  if (draining_) return;
  if (Peer* peer = pool.dial(slot)) {
    place_by_peer_[peer->id()] = {&pool, &slot};
    return;
  }
  if (slot.is_extra) remove_link(pool, slot);
  on_down(pool);
}

// No link of the pool may be left.
void Controller::on_down(Pool& pool) {
  auto entry = pools_.find(pool.address_text());
  for (Upstream* user : std::vector<Upstream*>(entry->second.users))
    if (!is_usable(*user)) give_up_legs(*user);
}

void Controller::serve_users(Pool& pool) {
  for (Upstream* user : pools_.at(pool.address_text()).users) serve_waiting(*user);
}

void Controller::on_timer(Timers::Key key) {
  if (resumer_.on_timer(key)) return;
  if (auto check = pool_by_check_.find(key); check != pool_by_check_.end()) return check->second->on_check();
  auto found = place_by_key_.find(key);
  if (found == place_by_key_.end()) return;
  auto [pool, slot] = found->second;
  if (slot->peer == 0) return dial(*pool, *slot);
  if (!pool->is_idle(*slot)) return pool->look_again(*slot);
  log_line(LogLevel::Info, "link", "is closed: it was not needed for a minute", {{"segment", pool->name()}});
  remove_link(*pool, *slot);
}

void Controller::on_established(Peer& peer) {
  Resumer::Ready resumed = resumer_.on_ready(peer);
  if (resumed.is_own && !take_place(peer, resumed.replaces)) return;
  auto found = place_by_peer_.find(peer.id());
  if (found == place_by_peer_.end()) return;  // its address went away meanwhile
  auto [pool, slot] = found->second;
  pool->on_ready(*slot, peer);
  serve_users(*pool);
}

void Controller::on_room_for_streams(Peer& peer) {
  auto found = place_by_peer_.find(peer.id());
  if (found != place_by_peer_.end()) serve_users(*found->second.pool);
}

void Controller::on_going_away(Peer& peer) {
  auto found = place_by_peer_.find(peer.id());
  if (found == place_by_peer_.end()) return;
  log_line(LogLevel::Info, "link", "is draining: the segment takes no new streams", {{"segment", peer.name()}});
  auto [pool, slot] = found->second;
  if (draining_) return;
  place_by_peer_.erase(found);  // it lives on for its streams, and another link takes its place
  pool->replace(*slot);
}

void Controller::on_congested(Peer& peer) {
  if (auto found = place_by_peer_.find(peer.id()); found != place_by_peer_.end()) grow(*found->second.pool);
}

// Who has sent nothing yet can still go elsewhere, where there is an elsewhere.
void Controller::on_unresponsive(Peer& peer) {
  for (OwnerId owner : peer.session().owners())
    if (auto* relay = static_cast<ClientRelay*>(worker_.find_relay(owner))) relay->on_unresponsive_link(leg_of(owner));
}

void Controller::on_peer_gone(Peer& peer) {
  if (resumer_.on_gone(peer)) return;
  if (peer.was_given_up())
    log_line(LogLevel::Warning, "link", "given up",
             {{"segment", peer.name()}, {"reason", peer.reason()}, {"streams", peer.lost_streams()}});
  auto found = place_by_peer_.find(peer.id());
  if (found == place_by_peer_.end()) {  // it was draining
    if (peer.was_given_up()) return;
    bool is_lost = peer.lost_streams() > 0;
    log_line(is_lost ? LogLevel::Warning : LogLevel::Info, "link", is_lost ? "lost" : "drained",
             {{"segment", peer.name()}, {"reason", peer.reason()}, {"streams", peer.lost_streams()}});
    return;
  }
  auto [pool, slot] = found->second;
  place_by_peer_.erase(found);
  if (draining_) return;
  if (peer.was_given_up())
    pool->replace(*slot);
  else
    pool->on_lost(*slot, peer.reason(), peer.was_established(), peer.lost_streams());
  if (slot->is_extra) remove_link(*pool, *slot);
  on_down(*pool);
}

// --- Resuming ----------------------------------------------------------------------------------------------------

// A segment that drains takes no link any more.
bool Controller::may_resume(const Peer& peer) const {
  return peer.session().is_worth_resuming() && !peer.session().peer_going_away();
}

void Controller::on_link_lost(Peer& peer, const std::string& reason) {
  log_line(LogLevel::Warning, "link", "lost",
           {{"segment", peer.name()},
            {"reason", reason},
            {"streams", peer.session().stream_count()},
            {"resume", peer.session().resume_wait()}});
  resumer_.start(peer, addresses_of(peer));
  auto found = place_by_peer_.find(peer.id());
  if (found == place_by_peer_.end()) return;
  found->second.slot->is_down = true;
  on_down(*found->second.pool);
}

// Its own first, then those that DNS says are the same server's.
std::vector<Address> Controller::addresses_of(const Peer& peer) const {
  std::vector<Address> addresses{parse_endpoint(peer.name()).endpoint->address};
  auto found = pools_.find(peer.address());
  if (found == pools_.end()) return addresses;
  for (const Upstream* user : found->second.users)
    for (const Pool* pool : user->pools)
      if (std::ranges::find(addresses, pool->address()) == addresses.end()) addresses.push_back(pool->address());
  return addresses;
}

// The link of a segment that was started again takes the place of the one to the segment that is no more.
bool Controller::take_place(Peer& fresh, PeerId lost) {
  auto found = place_by_peer_.find(lost);
  if (found == place_by_peer_.end()) {
    if (lost != 0) fresh.close(LinkCode::NoError, "the address is no more");
    return false;
  }
  Place place = found->second;
  place_by_peer_.erase(found);
  place_by_peer_[fresh.id()] = place;
  place.slot->peer = fresh.id();
  if (Peer* before = worker_.find_peer(lost)) fresh.tells_congestion = before->tells_congestion;
  return true;
}

void Controller::on_resume(Peer& fresh, const ResumeFrame& answer, Bytes rest) {
  Peer* peer = resumer_.on_resumed(fresh, answer, rest);
  if (!peer) return;
  log_line(LogLevel::Info, "link", "resumed",
           {{"segment", peer->name()},
            {"link", peer->id()},
            {"after", worker_.now() - peer->lost_at()},
            {"replayed", peer->replayed()},
            {"streams", peer->session().stream_count()}});
  auto found = place_by_peer_.find(peer->id());
  if (found == place_by_peer_.end()) return;
  found->second.slot->is_down = false;
  serve_users(*found->second.pool);
}

void Controller::on_drain() {
  draining_ = true;
  for (auto& [address, entry] : pools_) entry.pool->stop();
}

}  // namespace cloudbus
