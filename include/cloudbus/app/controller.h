// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a controller does: keeps links to its segments open, and gives each client a stream on one of them.

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "cloudbus/app/client_relay.h"
#include "cloudbus/app/worker.h"
#include "cloudbus/core/backoff.h"
#include "cloudbus/core/balance.h"

namespace cloudbus {

class Controller final : public RoleLogic {
 public:
  explicit Controller(Worker& worker);
  ~Controller() override;

  // A client of a service; owns `fd` from here on.
  void on_client(const ServiceConfig& service, int fd, const Address& address);

  // Opens a leg on a link to its server, as soon as there is one, or says that it is out of reach.
  void open_leg(ClientRelay& relay, LegId leg, ServerIndex server);
  Balance& balance_of(const ServiceConfig& service) { return services_.at(&service).balance; }

  void on_start() override;
  void on_peer_ready(Peer& peer) override;
  void on_room_for_streams(Peer& peer) override;
  void on_going_away(Peer& peer) override;
  void on_peer_gone(Peer& peer) override;
  void on_timer(Timers::Key key) override;
  void on_drain() override;
  bool is_drained() const override { return true; }

 private:
  // One link that is to be there: dialled, kept, dialled again.
  struct Slot {
    explicit Slot(Timers::Key its_key) : key(its_key) {}

    Timers::Key key;
    PeerId peer = 0;
    Backoff backoff{std::chrono::milliseconds(100), std::chrono::seconds(5)};
    Time armed = Time::max();
    Time up_since = Time::max();  // of the link that is there
    std::string last_error;       // what was logged last, so that it is not logged again
    bool is_down = false;         // the last try failed, or the link was lost, and none is up since
  };
  // The links to one segment, which all services that name its address share.
  struct Pool {
    Endpoint endpoint;
    std::vector<Slot> slots;
    struct Waiting {
      OwnerId relay;
      std::optional<LegId> leg;  // none: the client waits for enough servers of its service
    };
    std::deque<Waiting> waiting;  // for a link
    std::size_t look_at = 64;     // so many in it: then those that wait no more are thrown out

    // Nothing says that no link will be up soon.
    bool is_usable() const;
  };
  struct Service {
    Balance balance;
    std::vector<Pool*> pools;  // of its servers, in their order
  };

  Peer* pick(Pool& pool);
  bool begin(ClientRelay& relay);
  void wait(Pool& pool, const Pool::Waiting& waiting);
  bool is_waiting(const Pool::Waiting& waiting);
  bool serve(Pool& pool, const Pool::Waiting& waiting);
  void serve_waiting(Pool& pool);
  void give_up_legs(Pool& pool);
  void dial(Pool& pool, Slot& slot);
  Duration dial_again(Slot& slot);
  void dial_later(Pool& pool, Slot& slot, const std::string& error, bool was_up, std::size_t lost_streams);

  Worker& worker_;
  std::map<std::string, Pool> pools_;  // by the endpoint's text
  std::unordered_map<const ServiceConfig*, Service> services_;
  std::unordered_map<PeerId, std::pair<Pool*, Slot*>> slot_by_peer_;
  std::unordered_map<Timers::Key, std::pair<Pool*, Slot*>> slot_by_key_;
  bool draining_ = false;
};

}  // namespace cloudbus
