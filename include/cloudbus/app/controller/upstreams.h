// SPDX-License-Identifier: Apache-2.0
#pragma once

// The servers of a controller's services, and the links to them: one upstream for each endpoint of the configuration,
// whichever services name it, and one pool of links for each address that such an endpoint has, whichever upstreams
// have it.

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "cloudbus/app/controller/pool.h"
#include "cloudbus/app/controller/upstream_needs.h"
#include "cloudbus/app/link/links.h"
#include "cloudbus/app/names/directory.h"
#include "cloudbus/core/names/target_choice.h"
#include "cloudbus/core/policy/fair_queue.h"

namespace cloudbus {

// A client that waits for a link.
struct WaitingClient {
  OwnerId relay;
  std::optional<LegId> leg;  // none: it waits for enough servers of its service
};

struct Upstream {
  Endpoint endpoint;
  Directory::Id id = 0;
  // What its users want of it, put together.
  UpstreamNeeds needs;
  std::unordered_map<ServiceId, UpstreamNeeds> users;
  std::vector<Pool*> pools;  // of its addresses, in the directory's order
  TargetChoice choice;
  FairQueue<ServiceId, WaitingClient> waiting;  // services take turns
  std::size_t look_at = 64;                     // so many in it: then those that wait no more are thrown out
};

class UpstreamsOwner {
 public:
  // A link of it takes streams.
  virtual void on_available(Upstream& upstream) = 0;
  // None of its links is up, and none will be soon.
  virtual void on_unusable(Upstream& upstream) = 0;

 protected:
  ~UpstreamsOwner() = default;
};

class Upstreams {
 public:
  Upstreams(Context& context, Links& links, Directory& directory, UpstreamsOwner& owner)
      : context_(context), links_(links), directory_(directory), owner_(owner) {}
  Upstreams(const Upstreams&) = delete;
  Upstreams& operator=(const Upstreams&) = delete;

  // --- Who uses what ---
  // A service has an endpoint among its servers, or wants something else of it now. settle() does what follows.
  Upstream& use(const Endpoint& endpoint, ServiceId service, const UpstreamNeeds& needs);
  void leave(Upstream& upstream, ServiceId service);
  void settle();
  // The addresses of an endpoint may have changed. Null where no upstream has this id.
  Upstream* on_targets(Directory::Id id);

  template <typename Visit>
  void for_each(Visit visit) {
    for (auto& [name, upstream] : upstreams_) visit(upstream);
  }

  // --- The choice of a link ---
  bool has_link(const Upstream& upstream) const;
  // Nothing says that no link will be up soon.
  bool is_usable(const Upstream& upstream) const;
  // One of its addresses has a link now, and nothing speaks against it.
  bool is_lively(const Upstream& upstream) const;
  // An address that has a link and was not tried. With `but`, it is not this one either.
  bool has_other(const Upstream& upstream, const std::string& but, std::span<const std::string> tried) const;
  // Null when there is none at an address that was not tried.
  Peer* pick(Upstream& upstream, std::span<const std::string> tried);
  const Pool* pool_of(PeerId peer) const;
  // Asks for what is past its TTL, where that is not done in the background. True while it is not answered.
  bool renew(const Upstream& upstream);

  // What became of a stream on a link, for the choice of the next ones.
  void on_served(PeerId peer);
  void on_refused(PeerId peer, StreamCode code);

  // A client finds no link there: one that is waited for is dialled at once.
  void dial_now(Upstream& upstream);
  // Whoever came at `since` and waits for `patience` will not see a link there.
  bool is_hopeless(const Upstream& upstream, Time since, Duration patience) const;

  // --- Links ---
  // One more link, where one is needed and wanted.
  void grow(Upstream& upstream);
  void grow(PeerId peer);
  void on_established(Peer& peer);
  void on_room_for_streams(const Peer& peer);
  void on_going_away(const Peer& peer);
  // False for one that is in no pool any more.
  bool on_gone(const Peer& peer);
  // The peer's session waits for another link, or has one again.
  void on_lost(const Peer& peer);
  void on_resumed(const Peer& peer);
  // The addresses at which a peer's session may go on: its own first, then those that DNS says are the same server's.
  std::vector<Address> addresses_of(const Peer& peer) const;
  // A new link stands in for that of a peer whose session is over. False when that was in no pool.
  bool replace(Peer& fresh, PeerId lost);

  // At the end of a turn: closes links whose addresses are no more, when their streams have ended.
  void close_drained();
  // No link is made any more.
  void stop();

 private:
  struct SlotRef {
    Pool* pool = nullptr;
    Pool::Slot* slot = nullptr;
  };
  struct PoolEntry {
    std::unique_ptr<Pool> pool;
    std::vector<Upstream*> users;
  };

  SlotRef slot_of(PeerId peer) const;
  void settle(Upstream& upstream);
  void update(Upstream& upstream);
  Pool& use_pool(Upstream& upstream, const Address& address);
  void leave_pool(Upstream& upstream, Pool& pool);
  void refresh_pool(PoolEntry& entry);
  void grow(Pool& pool);
  void add_link(Pool& pool, bool is_extra);
  void remove_link(Pool& pool, Pool::Slot& slot);
  void drain_link(PeerId id);
  void dial(Pool& pool, Pool::Slot& slot);
  void on_slot_time(Pool& pool, Pool::Slot& slot);
  void on_down(Pool& pool);
  void on_up(Pool& pool);

  Context& context_;
  Links& links_;
  Directory& directory_;
  UpstreamsOwner& owner_;
  std::map<std::string, Upstream> upstreams_;  // by the endpoint's text
  std::vector<std::string> unsettled_;         // of those
  std::unordered_map<Directory::Id, Upstream*> upstream_by_id_;
  std::map<std::string, PoolEntry> pools_;  // by the address's text
  std::unordered_map<PeerId, SlotRef> slots_;
  std::vector<PeerId> leaving_;  // links to addresses that are no more, until their streams have ended
  bool stopped_ = false;
};

}  // namespace cloudbus
