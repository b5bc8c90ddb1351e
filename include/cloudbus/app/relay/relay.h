// SPDX-License-Identifier: Apache-2.0
#pragma once

// One conversation in one daemon: joins a socket (the client's in a controller, the server's in a segment) to a stream.
// What is the same for both is here. client_relay.h and server_relay.h have how they begin, and the former what is
// different with several streams.

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cloudbus/app/link/links.h"
#include "cloudbus/app/log/log.h"
#include "cloudbus/app/roster/conversation.h"
#include "cloudbus/app/service/service.h"
#include "cloudbus/core/base/short_text.h"
#include "cloudbus/core/base/uuid.h"
#include "cloudbus/core/flow/byte_queue.h"
#include "cloudbus/core/session/session.h"
#include "cloudbus/core/wire/codes.h"
#include "cloudbus/net/connection.h"

namespace cloudbus {

class Peer;
class Worker;

class Relay : public Conversation, private ReadinessOwner {
 public:
  ~Relay() override;

  bool is_waiting() const { return stage_ == Stage::Waiting; }

  // --- As a conversation ---
  bool is_closed() const override { return stage_ == Stage::Closed; }
  ServiceId service() const override { return service_.service().id(); }
  Duration resume_wait() const override { return service_->resume; }
  void on_accepted(LegId) override {}
  void on_data(LegId leg, iovec* parts, int count, std::size_t size, std::size_t part) override;
  void expect_finish() override;
  void on_finished(LegId leg) override;
  void on_stopped(LegId leg, StreamCode code) override;
  void on_reset(LegId leg, StreamCode code) override;
  void fill(Session& session, const Session::Quantum& quantum, LegId leg) override;
  bool says_little() const override { return read_size_ == kSmallRead; }
  void abort(StreamCode code) override;
  void on_deadline(Time now) override;
  // A read that took less than it asked for has emptied the socket, but a reset that came with the last bytes may be
  // behind them, and no event will tell.
  bool look_behind(Time now) override;

 protected:
  static constexpr std::uint32_t kSmallRead = 16 * 1024;

  //   controller:  waiting --a stream is opened--> opening --ACCEPT--> open
  //   segment:     waiting --dial()--> dialing --connected--> open
  //   any --> closed
  enum class Stage : std::uint8_t { Waiting, Opening, Dialing, Open, Closed };
  enum class Side : std::uint8_t { Client, Server };

  Relay(Worker& worker, const ServiceRef& service, Side near, std::string_view client, const Uuid& conversation);

  // --- Of the stream, or of the streams ---
  virtual void want();
  virtual void finish_stream();
  virtual void stop_stream(StreamCode code);
  virtual void reset_stream(StreamCode code);
  // So many bytes have gone where they will ever go: the peer may send as many more.
  virtual void give_credit(std::size_t bytes);
  // The streams have ended too, where there are several.
  virtual bool is_stream_over() const { return true; }

  // --- Of the one who derives ---
  // The first write to a socket that is being connected went well.
  virtual void on_connected() {}
  virtual void on_connect_failed(int /*error*/) {}
  // Once, when the conversation is over.
  virtual void on_close() = 0;
  virtual StreamCode connect_timeout_code() const { return StreamCode::ConnectTimeout; }
  virtual Time next_deadline() const;
  // True if the deadline was one of its own.
  virtual bool on_own_deadline(Time) { return false; }
  virtual std::string_view mode_word() const { return "one-to-one"; }
  virtual std::string server_text() const = 0;
  virtual void add_fields(std::vector<Field>&) const {}
  // Before the first bytes of the socket go to the stream.
  virtual void on_first_bytes(Bytes) const {}

  Session* session();
  Side near_side() const { return near_; }
  Side far_side() const { return near_ == Side::Client ? Side::Server : Side::Client; }
  StreamCode near_reset() const { return near_ == Side::Client ? StreamCode::ClientReset : StreamCode::ServerReset; }

  void start_connection(int fd, bool is_unix);
  void opened();
  bool can_read() const;
  IoResult read_some(iovec* parts, int count, std::size_t size);
  void after_read(Io status);
  void deliver(iovec* parts, int count, std::size_t size);
  void end_delivery();
  void stop_reading(StreamCode code);
  void break_off(StreamCode code);
  void write_pending();
  // The socket broke: what it still holds is read first.
  void on_write_failed(Io status);
  void close_if_done();
  void arm();
  void log_step(std::string_view what) const;

  Worker& worker_;
  ServiceRef service_;
  PeerId peer_ = 0;  // where there is one stream
  StreamId stream_ = 0;
  Connection connection_;
  ByteQueue pending_;  // toward the socket
  ShortText client_;
  Uuid conversation_;

  Time started_, opened_{}, last_activity_;
  Time armed_ = Time::max();  // on_deadline() comes then
  std::uint32_t read_size_;   // bytes, grows with what the socket has
  Side near_;
  Stage stage_ = Stage::Waiting;
  bool readable_ = true;    // as far as is known: there may be bytes from the start
  bool read_done_ = false;  // EOF was read, or the peer wants no more

 private:
  void on_ready(Ready ready) noexcept override;
  void read_ended();
  void write_now(iovec* parts, int count, std::size_t size);
  void keep(const iovec* parts, int count, std::size_t skip);
  void after_write(std::size_t bytes);
  void finish_if_drained();
  void drop_pending();
  void reset_if_drained();
  void close(std::string_view end);
  void close_with(StreamCode code);
  void log_conversation(std::string_view end) const;
  std::string_view fin_words() const;

  std::uint64_t read_ = 0, written_ = 0;  // bytes from and to the socket
  std::optional<Side> first_fin_;
  StreamCode end_code_ = StreamCode::Cancelled;
  // Bits, as there may be very many relays.
  bool writable_ : 1 = true;
  bool ending_ : 1 = false;        // the socket's end stands behind what can be read
  bool emptied_ : 1 = false;       // by a short read; look_behind() has not looked since
  bool is_listed_ : 1 = false;     // for look_behind()
  bool fin_follows_ : 1 = false;   // the next write is the last one, and FIN goes with it
  bool fin_received_ : 1 = false;  // the peer's direction is complete
  bool write_done_ : 1 = false;    // everything was written, and so was FIN
  bool broken_ : 1 = false;        // the socket broke; what it still holds is read, then the stream is reset
  bool cut_ : 1 = false;           // a direction was stopped in mid-stream: this ends with a reset
  bool reset_pending_ : 1 = false;
  bool has_end_code_ : 1 = false;
};

}  // namespace cloudbus
