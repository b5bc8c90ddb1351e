// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/controller/upstreams.h"

#include <algorithm>
#include <utility>

#include "cloudbus/app/log/log.h"

namespace cloudbus {
namespace {

// The other end answered, and would answer the same again.
bool is_final(LinkCode code) { return code == LinkCode::Version || code == LinkCode::WrongRole; }

}  // namespace

// --- Who uses what -----------------------------------------------------------------------------------------------

Upstream& Upstreams::use(const Endpoint& endpoint, ServiceId service, const UpstreamNeeds& needs) {
  auto [found, is_new] = upstreams_.try_emplace(endpoint.to_string());
  Upstream& upstream = found->second;
  upstream.endpoint = endpoint;
  upstream.users[service] = needs;
  unsettled_.push_back(found->first);
  return upstream;
}

void Upstreams::leave(Upstream& upstream, ServiceId service) {
  upstream.users.erase(service);
  unsettled_.push_back(upstream.endpoint.to_string());
}

void Upstreams::settle() {
  std::vector<std::string> names = std::exchange(unsettled_, {});
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  for (const std::string& name : names) {
    auto found = upstreams_.find(name);
    settle(found->second);
    if (found->second.users.empty()) upstreams_.erase(found);
  }
}

// Its names are watched, its addresses have links, and all of that as its users need it.
void Upstreams::settle(Upstream& upstream) {
  UpstreamNeeds before = std::exchange(upstream.needs, {});
  for (const auto& [service, needs] : upstream.users) upstream.needs.add(needs);
  if (upstream.users.empty()) {
    owner_.on_unusable(upstream);
    for (Pool* pool : std::exchange(upstream.pools, {})) leave_pool(upstream, *pool);
    if (upstream.id == 0) return;
    upstream_by_id_.erase(upstream.id);
    return directory_.unwatch(upstream.id, before.is_lazy);
  }
  Directory::Id watched = upstream.id;
  if (watched == 0 || before.is_lazy != upstream.needs.is_lazy) {
    upstream.id = directory_.watch(upstream.endpoint, upstream.needs.is_lazy);
    upstream_by_id_[upstream.id] = &upstream;
    if (watched != 0) directory_.unwatch(watched, before.is_lazy);
  }
  update(upstream);
  for (Pool* pool : upstream.pools) refresh_pool(pools_.at(pool->address_text()));
}

Upstream* Upstreams::on_targets(Directory::Id id) {
  auto found = upstream_by_id_.find(id);
  if (found == upstream_by_id_.end()) return nullptr;
  update(*found->second);
  return found->second;
}

// The addresses of a server are what the directory says: links to new ones are made, links to those that are no more
// end with their streams.
void Upstreams::update(Upstream& upstream) {
  if (stopped_) return;
  std::vector<Pool*> before = std::move(upstream.pools);
  upstream.pools.clear();
  for (const Address& address : directory_.targets(upstream.id).addresses)
    upstream.pools.push_back(&use_pool(upstream, address));
  for (Pool* pool : before)
    if (std::ranges::find(upstream.pools, pool) == upstream.pools.end()) leave_pool(upstream, *pool);
  owner_.on_available(upstream);
  if (!is_usable(upstream)) owner_.on_unusable(upstream);
}

Pool& Upstreams::use_pool(Upstream& upstream, const Address& address) {
  PoolEntry& entry = pools_[address.to_string()];
  bool is_new = !entry.pool;
  if (is_new) {
    auto on_time = [this](Pool& pool, Pool::Slot& slot) { on_slot_time(pool, slot); };
    entry.pool = std::make_unique<Pool>(context_, links_, address, on_time);
  }
  if (std::ranges::find(entry.users, &upstream) == entry.users.end()) {
    entry.users.push_back(&upstream);
    refresh_pool(entry);
  }
  return *entry.pool;
}

// As many links as its users want, and what else they want of it.
void Upstreams::refresh_pool(PoolEntry& entry) {
  UpstreamNeeds needs;
  for (Upstream* user : entry.users) needs.add(user->needs);
  Pool& pool = *entry.pool;
  pool.set_growing(needs.has_extra);
  pool.check(needs.health);
  auto wanted = static_cast<std::size_t>(needs.links);
  while (pool.kept_slots() < wanted && !stopped_) add_link(pool, false);
  while (pool.kept_slots() > wanted) remove_link(pool, pool.last_kept_slot());
}

void Upstreams::leave_pool(Upstream& upstream, Pool& pool) {
  auto entry = pools_.find(pool.address_text());
  std::erase(entry->second.users, &upstream);
  if (!entry->second.users.empty()) return refresh_pool(entry->second);
  log_line(LogLevel::Info, "link", "is drained: its address is no more", {{"segment", pool.name()}});
  for (Pool::Slot& slot : pool.slots()) drain_link(slot.peer);
  pools_.erase(entry);
}

// --- The choice of a link ----------------------------------------------------------------------------------------

Upstreams::SlotRef Upstreams::slot_of(PeerId peer) const {
  auto found = slots_.find(peer);
  return found == slots_.end() ? SlotRef{} : found->second;
}

const Pool* Upstreams::pool_of(PeerId peer) const { return slot_of(peer).pool; }

bool Upstreams::has_link(const Upstream& upstream) const {
  return std::ranges::any_of(upstream.pools, [](Pool* pool) { return pool->pick() != nullptr; });
}

bool Upstreams::is_usable(const Upstream& upstream) const {
  if (upstream.id == 0) return true;  // it has just come
  if (!directory_.is_known(upstream.id)) return !directory_.is_in_trouble(upstream.id);
  return std::ranges::any_of(upstream.pools, &Pool::is_usable);
}

bool Upstreams::is_lively(const Upstream& upstream) const {
  return std::ranges::any_of(upstream.pools, [this](Pool* pool) {
    return pool->is_in(context_.now()) && !pool->is_unresponsive() && pool->pick();
  });
}

bool Upstreams::has_other(const Upstream& upstream, const std::string& but, std::span<const std::string> tried) const {
  return std::ranges::any_of(upstream.pools, [&](Pool* pool) {
    bool was_tried = pool->address_text() == but || std::ranges::find(tried, pool->address_text()) != tried.end();
    return !was_tried && pool->pick();
  });
}

// Of the addresses that have a link and answer, so that the turns of one without are shared by all others. With all of
// them out, all are tried.
Peer* Upstreams::pick(Upstream& upstream, std::span<const std::string> tried) {
  if (upstream.pools.empty()) return nullptr;
  auto draw = [this](std::uint64_t n) { return context_.random_bits() % n; };
  const Targets& targets = directory_.targets(upstream.id);
  enum class Allowed { Good, Unresponsive, All };
  for (Allowed allowed : {Allowed::Good, Allowed::Unresponsive, Allowed::All}) {
    std::vector<Pool*> pools;
    std::vector<std::uint32_t> record_of;
    for (std::size_t index = 0; index < upstream.pools.size(); index++) {
      Pool& pool = *upstream.pools[index];
      if (allowed != Allowed::All && !pool.is_in(context_.now())) continue;
      if (allowed == Allowed::Good && pool.is_unresponsive()) continue;
      if (std::ranges::find(tried, pool.address_text()) != tried.end() || !pool.pick()) continue;
      pools.push_back(&pool);
      record_of.push_back(targets.record_of[index]);
    }
    if (pools.empty()) continue;
    Pool& chosen = *pools[upstream.choice.order(record_of, targets.records, draw).front()];
    chosen.health.begin(context_.now());
    return chosen.pick();
  }
  return nullptr;
}

bool Upstreams::renew(const Upstream& upstream) {
  return upstream.id != 0 && !upstream.needs.is_lazy && directory_.renew(upstream.id);
}

void Upstreams::on_served(PeerId peer) {
  Pool* pool = slot_of(peer).pool;
  if (!pool || !pool->health.on_success()) return;
  log_line(LogLevel::Info, "link", "serves again", {{"segment", pool->name()}});
}

void Upstreams::on_refused(PeerId peer, StreamCode code) {
  Pool* pool = slot_of(peer).pool;
  if (!pool || !pool->health.on_failure(context_.now())) return;
  log_line(LogLevel::Warning, "link", "is passed over: it refused several clients in a row",
           {{"segment", pool->name()}, {"reason", std::string(name_of(code))}, {"retry", pool->health.out_for()}});
}

void Upstreams::dial_now(Upstream& upstream) {
  for (Pool* pool : std::vector<Pool*>(upstream.pools))
    for (Pool::Slot* slot : pool->due_slots()) dial(*pool, *slot);
}

bool Upstreams::is_hopeless(const Upstream& upstream, Time since, Duration patience) const {
  if (upstream.id == 0 || !directory_.is_known(upstream.id) || upstream.pools.empty()) return false;
  return std::ranges::all_of(upstream.pools, [&](const Pool* pool) { return pool->is_hopeless(since, patience); });
}

// --- Making links ------------------------------------------------------------------------------------------------

void Upstreams::add_link(Pool& pool, bool is_extra) { dial(pool, pool.add_slot(is_extra)); }

// One that is not needed any more, or an extra one that was not to be had.
void Upstreams::remove_link(Pool& pool, Pool::Slot& slot) {
  drain_link(slot.peer);
  pool.remove_slot(slot);
}

void Upstreams::dial(Pool& pool, Pool::Slot& slot) {
  if (stopped_) return;
  if (Peer* peer = pool.dial(slot)) {
    slots_[peer->id()] = {&pool, &slot};
    return;
  }
  if (slot.is_extra) remove_link(pool, slot);
  on_down(pool);
}

void Upstreams::on_slot_time(Pool& pool, Pool::Slot& slot) {
  if (slot.peer == 0) return dial(pool, slot);
  if (!pool.is_idle(slot)) return pool.look_again(slot);
  log_line(LogLevel::Info, "link", "is closed: it was not needed for a minute", {{"segment", pool.name()}});
  remove_link(pool, slot);
}

void Upstreams::grow(Upstream& upstream) {
  for (Pool* pool : upstream.pools) grow(*pool);
}

void Upstreams::grow(PeerId peer) {
  if (Pool* pool = slot_of(peer).pool) grow(*pool);
}

void Upstreams::grow(Pool& pool) {
  if (stopped_ || !pool.needs_more()) return;
  log_line(LogLevel::Info, "link", "is joined by another: there was no room on it",
           {{"segment", pool.name()}, {"links", std::uint64_t{pool.slots().size()}}});
  add_link(pool, true);
}

// The link ends with its streams.
void Upstreams::drain_link(PeerId id) {
  slots_.erase(id);
  Peer* peer = links_.find(id);
  if (!peer) return;
  if (peer->session().is_established() || peer->is_detached())
    peer->session().drain(context_.now());
  else
    peer->close(LinkCode::NoError, "it is not needed any more");
  links_.touch(*peer);
  leaving_.push_back(peer->id());
}

void Upstreams::close_drained() {
  std::erase_if(leaving_, [this](PeerId id) {
    Peer* peer = links_.find(id);
    if (!peer || peer->session().is_closed()) return true;
    if (!peer->session().is_drained()) return false;
    peer->close(LinkCode::NoError, "drained");
    links_.touch(*peer);
    return true;
  });
}

void Upstreams::stop() {
  stopped_ = true;
  for (auto& [address, entry] : pools_) entry.pool->stop();
}

// --- What happens to links ---------------------------------------------------------------------------------------

// No link of the pool may be left.
void Upstreams::on_down(Pool& pool) {
  auto entry = pools_.find(pool.address_text());
  for (Upstream* user : std::vector<Upstream*>(entry->second.users))
    if (!is_usable(*user)) owner_.on_unusable(*user);
}

void Upstreams::on_up(Pool& pool) {
  for (Upstream* user : pools_.at(pool.address_text()).users) owner_.on_available(*user);
}

void Upstreams::on_established(Peer& peer) {
  auto [pool, slot] = slot_of(peer.id());
  if (!pool) return;  // its address went away meanwhile
  pool->on_established(*slot, peer);
  on_up(*pool);
}

void Upstreams::on_room_for_streams(const Peer& peer) {
  if (Pool* pool = slot_of(peer.id()).pool) on_up(*pool);
}

void Upstreams::on_going_away(const Peer& peer) {
  auto [pool, slot] = slot_of(peer.id());
  if (!pool) return;
  log_line(LogLevel::Info, "link", "is draining: the segment takes no new streams", {{"segment", peer.name()}});
  if (stopped_) return;
  slots_.erase(peer.id());  // it lives on for its streams, and another link takes its place
  pool->replace(*slot);
}

bool Upstreams::on_gone(const Peer& peer) {
  auto [pool, slot] = slot_of(peer.id());
  if (!pool) return false;
  slots_.erase(peer.id());
  if (stopped_) return true;
  if (peer.was_given_up())
    pool->replace(*slot);
  else
    pool->on_lost(*slot, peer.reason(), peer.was_established(), peer.lost_streams(), is_final(peer.code()));
  if (slot->is_extra) remove_link(*pool, *slot);
  on_down(*pool);
  return true;
}

void Upstreams::on_lost(const Peer& peer) {
  auto [pool, slot] = slot_of(peer.id());
  if (!pool) return;
  if (!std::exchange(slot->is_down, true)) slot->down_since = context_.now();
  on_down(*pool);
}

void Upstreams::on_resumed(const Peer& peer) {
  auto [pool, slot] = slot_of(peer.id());
  if (!pool) return;
  slot->is_down = false;
  on_up(*pool);
}

std::vector<Address> Upstreams::addresses_of(const Peer& peer) const {
  std::vector<Address> addresses{parse_endpoint(peer.name()).endpoint->address};
  auto found = pools_.find(peer.address());
  if (found == pools_.end()) return addresses;
  for (const Upstream* user : found->second.users)
    for (const Pool* pool : user->pools)
      if (std::ranges::find(addresses, pool->address()) == addresses.end()) addresses.push_back(pool->address());
  return addresses;
}

bool Upstreams::replace(Peer& fresh, PeerId lost) {
  SlotRef ref = slot_of(lost);
  if (!ref.pool) return false;
  slots_.erase(lost);
  slots_[fresh.id()] = ref;
  ref.slot->peer = fresh.id();
  if (Peer* before = links_.find(lost)) fresh.tells_congestion = before->tells_congestion;
  return true;
}

}  // namespace cloudbus
