// SPDX-License-Identifier: Apache-2.0
#pragma once

// A segment's side of a conversation: from its controller's stream to a server, which it connects to.

#include <vector>

#include "cloudbus/app/relay.h"
#include "cloudbus/core/balance.h"

namespace cloudbus {

class ServerRelay final : public Relay {
 public:
  // For a stream that was opened. It waits for dial(). `balance` outlives it.
  ServerRelay(Worker& worker, OwnerId id, const ServiceConfig& service, Balance& balance, Peer& peer, StreamId stream,
              const OpenRequest& request);

  // Starts to connect to a server. False when there is no descriptor for it: then wait_again().
  bool dial();
  void wait_again();

 private:
  void on_connected() override;
  void on_connect_failed(int error) override;
  void on_close() override;
  StreamCode connect_timeout_code() const override;
  Time next_deadline() const override;
  bool on_own_deadline(Time now) override;
  std::string_view mode_word() const override;
  std::string server_text() const override;

  const Endpoint& server() const { return service_.servers[server_].endpoint; }
  void choose_server();
  bool dial_builtin();
  bool dial_failed(int error);
  bool try_next(std::string_view error);
  void leave_dialing();
  void leave_server();

  Balance& balance_;
  std::vector<ServerIndex> spares_;  // the servers to be tried after this one, the next one last
  ServerIndex server_ = 0;
  Time try_until_ = Time::max();  // then the next server is tried
  int dial_error_ = 0;            // of errno, of the last try
  bool is_chosen_ = false;        // server_ was taken, and counts as its load
};

}  // namespace cloudbus
