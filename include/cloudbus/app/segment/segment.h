// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a segment does: takes links from controllers, and connects each of their streams to a backend.

#include <string>
#include <string_view>
#include <vector>

#include "cloudbus/app/link/parking.h"
#include "cloudbus/app/link/peer.h"
#include "cloudbus/app/log/log.h"
#include "cloudbus/app/segment/backends.h"
#include "cloudbus/app/segment/builtins.h"
#include "cloudbus/app/segment/dial_queue.h"
#include "cloudbus/app/service/services.h"
#include "cloudbus/app/worker/worker.h"

namespace cloudbus {

class Segment final : public RoleLogic {
 public:
  explicit Segment(Worker& worker);

  // A controller's link; owns `fd` from here on.
  void on_link(const Origin& origin, int fd, const Address& address);

  // A socket is being connected to a server.
  static void on_dialled(int fd, const Address& server, ServiceId service);
  DialQueue& dial_queue() { return dial_queue_; }
  Builtins& builtins() { return builtins_; }

  void on_config(const ConfigDiff& diff) override;
  void on_targets(Directory::Id id) override;
  void on_established(Peer& peer) override;
  void on_opened(Peer& peer, const Event& event) override;
  void on_gone(Peer& peer) override;
  bool may_resume(const Peer&) const override { return !draining_; }
  void on_link_lost(Peer& peer, const std::string& reason) override;
  void on_resume(Peer& fresh, const ResumeFrame& request, Bytes rest) override;
  void on_turn_end() override;
  void on_reaped() override;
  void on_drain() override;
  bool is_drained() const override { return links_ == 0; }

 private:
  Service* find_service(const Peer& peer, const std::string& name);
  bool is_loop(Peer& peer, const OpenRequest& request) const;
  void refuse_loop(Peer& peer, const Event& event, const Service& service);
  void refuse(Peer& peer, const Event& event, StreamCode code, std::string_view words, std::vector<Field> fields);
  static void end(Peer& peer, const Event& event, StreamCode code, std::string_view reason);
  void check_origins(const Config& config);
  void drain_link(Peer& peer);
  void close_drained();
  void resume(PeerId id, const ResumeClaim& claim, const std::string& over, Peer::Handover link);

  Worker& worker_;
  Services services_;
  DialQueue dial_queue_;
  Builtins builtins_;
  Parking parking_;
  std::vector<Origin> origins_;  // where links may come in, in order
  std::vector<PeerId> leaving_;  // links that came in where none may any more, until their streams have ended
  std::size_t links_ = 0;
  bool draining_ = false;
};

}  // namespace cloudbus
