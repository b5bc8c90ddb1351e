// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a controller does: takes clients, and gives each of them a stream on a link to one of its service's servers, or
// several, as soon as there are links.

#include <span>
#include <string>
#include <vector>

#include "cloudbus/app/controller/client_relay.h"
#include "cloudbus/app/controller/upstreams.h"
#include "cloudbus/app/link/resumer.h"
#include "cloudbus/app/service/services.h"
#include "cloudbus/app/worker/worker.h"

namespace cloudbus {

// A service of a controller: its servers are upstreams.
class ControllerService final : public Service {
 public:
  ControllerService(ServiceId id, std::size_t first_server, Upstreams& upstreams)
      : Service(id, first_server), upstreams_(upstreams) {}

  // Null for a server that was removed.
  Upstream* upstream(ServerIndex server) const { return of_server_[server]; }

 private:
  void on_server_added(ServerIndex server) override;
  void on_server_removed(ServerIndex server) override;
  void on_applied() override;

  Upstreams& upstreams_;
  std::vector<Upstream*> of_server_;  // by ServerIndex
};

class Controller final : public RoleLogic, private UpstreamsOwner {
 public:
  explicit Controller(Worker& worker);

  // A client of a service; owns `fd` from here on.
  void on_client(ServiceId service, int fd, const Address& address);

  // Opens a leg on a link to its server, as soon as there is one, or says that it is out of reach.
  void open_leg(ClientRelay& relay, LegId leg, ServerIndex server);
  // Whether an address of the leg's server is left that was not tried.
  bool has_other_address(const ClientRelay& relay, LegId leg, ServerIndex server);
  // What became of a stream on a link, for the choice of the next ones.
  void on_served(PeerId peer) { upstreams_.on_served(peer); }
  void on_refused(PeerId peer, StreamCode code) { upstreams_.on_refused(peer, code); }

  // Why there is no link for a client that has waited for one.
  StreamCode why_no_link(const ClientRelay& relay) const;

  // What a segment said of a stream that it reset, until the conversation has its line in the log.
  void remember_reason(OwnerId conversation, std::string_view reason) { reasons_[conversation] = reason; }
  const std::string* reason_of(OwnerId conversation) const;
  void forget_reason(OwnerId conversation) { reasons_.erase(conversation); }

  void on_config(const ConfigDiff& diff) override;
  void on_targets(Directory::Id id) override;
  void on_established(Peer& peer) override;
  void on_room_for_streams(Peer& peer) override { upstreams_.on_room_for_streams(peer); }
  void on_going_away(Peer& peer) override { upstreams_.on_going_away(peer); }
  void on_unresponsive(Peer& peer) override;
  void on_suspect(Peer& peer) override;
  void on_congested(Peer& peer) override { upstreams_.grow(peer.id()); }
  void on_gone(Peer& peer) override;
  bool may_resume(const Peer& peer) const override;
  void on_link_lost(Peer& peer, const std::string& reason) override;
  void on_resume(Peer& fresh, const ResumeFrame& answer, Bytes rest) override;
  void on_turn_end() override { upstreams_.close_drained(); }
  void on_reaped() override { services_.reap(); }
  void on_drain() override { upstreams_.stop(); }
  bool is_drained() const override { return true; }

 private:
  void on_available(Upstream& upstream) override { serve_waiting(upstream); }
  void on_unusable(Upstream& upstream) override;

  void begin_or_wait(ClientRelay& relay);
  void end_hopeless(Upstream& upstream);
  void begin_again(const ConfigDiff& diff);
  bool begin(ClientRelay& relay);
  bool begin_on_only_link(ClientRelay& relay, ControllerService& service);
  void open_on(ClientRelay& relay, LegId leg, Peer& peer);
  ClientRelay* find_waiting(const WaitingClient& waiting);
  void wait(Upstream& upstream, ServiceId service, const WaitingClient& waiting);
  bool serve(Upstream& upstream, const WaitingClient& waiting);
  void serve_waiting(Upstream& upstream);

  Worker& worker_;
  Upstreams upstreams_;
  Services services_;
  Resumer resumer_;
  std::unordered_map<OwnerId, std::string> reasons_;
};

}  // namespace cloudbus
