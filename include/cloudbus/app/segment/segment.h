// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a segment does: takes links from controllers, and connects each of their streams to a backend.

#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>

#include "cloudbus/app/link/parking.h"
#include "cloudbus/app/segment/backends.h"
#include "cloudbus/app/worker/worker.h"

namespace cloudbus {

class Segment final : public RoleLogic {
 public:
  explicit Segment(Worker& worker);

  // A controller's link; owns `fd` from here on. `service` is the only one served at this bind, null for all of them.
  void on_link(const ServiceConfig* service, int fd, const Address& address);

  void on_start() override;
  void on_targets(Directory::Id id) override;
  void on_established(Peer& peer) override;
  void on_opened(Peer& peer, const Event& event) override;
  void on_peer_gone(Peer& peer) override;
  bool may_resume(const Peer&) const override { return !draining_; }
  void on_link_lost(Peer& peer, const std::string& reason) override;
  void on_resume(Peer& fresh, const ResumeFrame& request, Bytes rest) override;
  void on_timer(Timers::Key key) override;
  void on_turn_end() override;
  void on_drain() override;
  bool is_drained() const override { return peers_ == 0; }

 private:
  Backends* find_service(const Peer& peer, const std::string& name);
  void queue(Peer& peer, OwnerId relay);
  void dial_some(Peer& peer);
  void pause_dialling();
  void close_drained();
  void resume(PeerId id, const ResumeClaim& claim, Peer::Handover link);

  Worker& worker_;
  std::unordered_map<std::string_view, Backends> services_;
  std::deque<PeerId> dial_peers_;  // those with streams that wait to be dialled
  std::vector<OwnerId> nameless_;  // streams that wait for the addresses of their server
  Parking parking_;
  Timers::Key pause_key_;
  Time pause_until_{}, pause_armed_ = Time::max();
  std::size_t peers_ = 0;
  bool draining_ = false;
};

}  // namespace cloudbus
