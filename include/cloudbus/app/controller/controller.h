// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a controller does: knows the addresses of its servers, keeps links to them open, and gives each client a stream
// on one of them, or several.

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "cloudbus/app/controller/client_relay.h"
#include "cloudbus/app/controller/pool.h"
#include "cloudbus/app/link/resumer.h"
#include "cloudbus/app/worker/worker.h"
#include "cloudbus/core/names/target_choice.h"
#include "cloudbus/core/policy/balance.h"

namespace cloudbus {

class Controller final : public RoleLogic {
 public:
  explicit Controller(Worker& worker);

  // A client of a service; owns `fd` from here on.
  void on_client(const ServiceConfig& service, int fd, const Address& address);

  // Opens a leg on a link to its server, as soon as there is one, or says that it is out of reach.
  void open_leg(ClientRelay& relay, LegId leg, ServerIndex server);
  // Whether an address of the leg's server is left that was not tried.
  bool has_other_address(const ClientRelay& relay, LegId leg, ServerIndex server);
  Balance& balance_of(const ServiceConfig& service) { return services_.at(&service).balance; }
  // What became of a stream on a link, for the choice of the next ones.
  void on_served(PeerId peer);
  void on_refused(PeerId peer, StreamCode code);

  void on_start() override;
  void on_targets(Directory::Id id) override;
  void on_established(Peer& peer) override;
  void on_room_for_streams(Peer& peer) override;
  void on_going_away(Peer& peer) override;
  void on_unresponsive(Peer& peer) override;
  void on_congested(Peer& peer) override;
  void on_peer_gone(Peer& peer) override;
  bool may_resume(const Peer& peer) const override;
  void on_link_lost(Peer& peer, const std::string& reason) override;
  void on_resume(Peer& fresh, const ResumeFrame& answer, Bytes rest) override;
  void on_timer(Timers::Key key) override;
  void on_turn_end() override;
  void on_drain() override;
  bool is_drained() const override { return true; }

 private:
  struct Waiting {
    OwnerId relay;
    std::optional<LegId> leg;  // none: the client waits for enough servers of its service
  };
  // A server of the configuration, which all services that name it share.
  struct Upstream {
    Endpoint endpoint;
    Directory::Id id = 0;
    int links = 1;
    bool has_extra = false;  // links = auto
    bool is_lazy = false;
    HealthConfig health;
    std::vector<Pool*> pools;  // of its addresses, in the directory's order
    TargetChoice choice;
    std::deque<Waiting> waiting;  // for a link
    std::size_t look_at = 64;     // so many in it: then those that wait no more are thrown out
  };
  struct Service {
    Balance balance;
    std::vector<Upstream*> servers;  // in their order
  };
  struct Place {
    Pool* pool;
    Pool::Slot* slot;
  };
  struct PoolEntry {
    std::unique_ptr<Pool> pool;
    std::vector<Upstream*> users;
  };

  bool begin(ClientRelay& relay);
  void open_on(ClientRelay& relay, LegId leg, Peer& peer);
  bool has_link(const Upstream& upstream) const;
  bool is_usable(const Upstream& upstream) const;
  bool is_lively(const Upstream& upstream) const;
  Peer* pick(Upstream& upstream, std::span<const std::string> tried);
  void wait(Upstream& upstream, const Waiting& waiting);
  bool is_waiting(const Waiting& waiting);
  bool serve(Upstream& upstream, const Waiting& waiting);
  void serve_waiting(Upstream& upstream);
  void give_up_legs(Upstream& upstream);
  void update(Upstream& upstream);
  Pool& use_pool(Upstream& upstream, const Address& address);
  void add_link(Pool& pool, bool is_extra);
  void remove_link(Pool& pool, Pool::Slot& slot);
  void drain_link(PeerId id);
  void grow(Pool& pool);
  void grow(Upstream& upstream);
  void leave_pool(Upstream& upstream, Pool& pool);
  void dial(Pool& pool, Pool::Slot& slot);
  void on_down(Pool& pool);
  void serve_users(Pool& pool);
  std::vector<Address> addresses_of(const Peer& peer) const;
  bool take_place(Peer& fresh, PeerId lost);

  Worker& worker_;
  std::map<std::string, Upstream> upstreams_;  // by the endpoint's text
  std::unordered_map<Directory::Id, Upstream*> upstream_by_id_;
  std::unordered_map<const ServiceConfig*, Service> services_;
  std::map<std::string, PoolEntry> pools_;  // by the address's text
  std::unordered_map<PeerId, Place> place_by_peer_;
  std::unordered_map<Timers::Key, Place> place_by_key_;
  Resumer resumer_;
  std::unordered_map<Timers::Key, Pool*> pool_by_check_;
  std::vector<PeerId> leaving_;  // links to addresses that are no more, until their streams have ended
  bool draining_ = false;
};

}  // namespace cloudbus
