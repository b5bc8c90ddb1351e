// SPDX-License-Identifier: Apache-2.0
#pragma once

// A segment's side of a conversation: from its controller's stream to a server, which it connects to.

#include <memory>
#include <string>
#include <vector>

#include "cloudbus/app/relay/relay.h"
#include "cloudbus/app/segment/backends.h"
#include "cloudbus/core/policy/backoff.h"
#include "cloudbus/net/connector.h"

namespace cloudbus {

class Segment;

class ServerRelay final : public Relay {
 public:
  // For a stream that was opened. It waits for dial().
  ServerRelay(Segment& segment, Worker& worker, const ServiceRef& service, Peer& peer, StreamId stream,
              const OpenRequest& request);

  enum class Dialled : std::uint8_t {
    Begun,
    NoDescriptor,  // wait_again(), until one may have come back
    NoShare,       // wait_again(), until its service may have one more descriptor
    NoAddress,     // wait_again(), until more is known of the names
  };
  // Starts to connect to a server, or ends the conversation.
  Dialled dial();
  void wait_again();
  PeerId peer() const { return peer_; }

 private:
  // Of several candidates, the first that can be connected to. When all have failed, and one of them in such a way that
  // the next try may go well, they are tried again later.
  struct Dialing final : ConnectorOwner {
    explicit Dialing(ServerRelay& its_relay) : relay(its_relay) {}
    void on_connected(std::size_t index, int fd, bool is_broken) noexcept override;
    void on_address_failed(std::size_t index, int error) noexcept override;
    void on_dialled(std::size_t index, int fd) noexcept override;
    void on_all_failed(int error) noexcept override { relay.on_all_failed(error); }

    ServerRelay& relay;
    std::vector<Backends::Candidate> candidates;
    std::unique_ptr<Connector> connector;
    Backoff backoff{kFirstRetry, kMostRetry};
    Time retry_at = Time::max();
    int worth_a_retry = 0;    // errno of a failure of this round
    bool has_failed = false;  // in an earlier round: what fails again is told nobody
    bool is_starting = false;
  };
  static constexpr Duration kFirstRetry = std::chrono::milliseconds(50), kMostRetry = std::chrono::milliseconds(500);

  void reset_stream(StreamCode code) override;
  std::string reason(StreamCode code) const;
  void on_connected() override;
  void on_connect_failed(int error) override;
  void on_close() override;
  StreamCode connect_timeout_code() const override;
  Time next_deadline() const override;
  bool on_own_deadline(Time now) override;
  std::string_view mode_word() const override;
  std::string server_text() const override;
  void add_fields(std::vector<Field>& fields) const override;

  void on_candidate_connected(Backends::Candidate chosen, int fd, bool is_broken);
  void on_all_failed(int error);
  Dialing& dialing();
  bool is_worth_a_retry(int error) const;
  bool retry_later();
  void begin_dialing();
  void leave_dialing();
  void take_server(ServerIndex server);
  Backends& backends() const { return static_cast<Backends&>(service_.service()); }
  Dialled dial_only(ServerIndex server);
  Dialled dial_some();
  bool dial_builtin(Endpoint::Kind kind);
  Dialled dial_failed(int error);
  void on_server_failed(const std::string& server, int error);
  void fail(int error);

  Segment& segment_;
  std::unique_ptr<Dialing> dialing_;            // until it is connected
  std::unique_ptr<const std::string> address_;  // of the server, where it is not the configuration's
  ServerIndex server_ = 0;
  short dial_error_ = 0;     // of errno, of the last try
  bool has_server_ = false;  // server_ was taken, and counts as its load
  bool may_retry_;           // the controller has nowhere else to go
};

}  // namespace cloudbus
