// SPDX-License-Identifier: Apache-2.0
#pragma once

// A controller's side of a conversation: from a client's socket to one stream, or to the legs of a fan-out.

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cloudbus/app/relay/relay.h"
#include "cloudbus/core/fanout/fanout.h"

namespace cloudbus {

class Controller;

class ClientRelay final : public Relay {
 public:
  // Around a client's socket. It waits for open_on() or start_legs().
  ClientRelay(Controller& controller, Worker& worker, const ServiceRef& service, int fd, const Address& client);
  ~ClientRelay() override;

  const ServiceConfig& config() const { return *service_; }
  Service& its_service() const { return service_.service(); }
  // While it is new: it begins with this configuration.
  void take_version(const ServiceRef& version);
  std::string_view client() const { return client_.view(); }
  Time started() const { return started_; }
  // No stream was asked for yet.
  bool is_new() const { return stage_ == Stage::Waiting && !legs_; }
  // This leg waits for a link.
  bool is_waiting(LegId leg) const;

  // Opens the one stream on a session that takes it.
  void open_on(Peer& peer);
  // Begins the legs: the controller is asked to open each of them.
  void start_legs(std::vector<ServerIndex> order);
  // The controller's answers, for one leg.
  void open_leg_on(LegId leg, Peer& peer, std::string address);
  void leg_unreachable(LegId leg);
  // The leg's link is silent, though it stands.
  void on_unresponsive_link(LegId leg);
  // Where the leg was opened last, and the addresses that refused it.
  const std::string& address(LegId leg) const;
  std::span<const std::string> tried(LegId leg) const;

  void on_accepted(LegId leg) override;
  void on_data(LegId leg, iovec* parts, int count, std::size_t size, std::size_t part) override;
  void on_finished(LegId leg) override;
  void on_stopped(LegId leg, StreamCode code) override;
  void on_reset(LegId leg, StreamCode code) override;
  void on_reset_reason(std::string_view reason) override;
  void fill(Session& session, const Session::Quantum& quantum, LegId leg) override;

 private:
  struct Legs;

  void want() override;
  void finish_stream() override;
  void stop_stream(StreamCode code) override;
  void reset_stream(StreamCode code) override;
  void give_credit(std::size_t bytes) override;
  bool is_sent() const override;
  bool is_stream_over() const override;
  void on_close() override;
  StreamCode connect_timeout_code() const override;
  Time next_deadline() const override;
  bool on_own_deadline(Time now) override;
  std::string_view mode_word() const override;
  std::string server_text() const override;
  void add_fields(std::vector<Field>& fields) const override;
  void on_first_bytes(Bytes bytes) const override;

  Session* session_of(LegId leg);
  void run_commands();
  void run(const Fanout::Command& command);
  void step();
  void deliver_from(LegId leg, iovec* parts, int count, std::size_t size);
  void deliver_held(LegId leg, std::size_t bytes);
  void leave_server(LegId leg);
  bool is_without_link() const;
  OpenRequest request(bool retry) const;
  bool may_ask_again(LegId leg, StreamCode code) const;
  void give_up_refused();
  bool try_elsewhere(LegId leg, StreamCode code);
  std::string server_of(LegId leg) const;
  std::string ends() const;

  Controller& controller_;
  std::unique_ptr<Legs> legs_;  // of a fan-out
};

}  // namespace cloudbus
