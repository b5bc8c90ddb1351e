// SPDX-License-Identifier: Apache-2.0
#pragma once

// One conversation in one daemon: joins a socket (the client's in a controller, the backend's in a segment) to a
// stream.

#include <sys/uio.h>

#include <cstdint>
#include <string>

#include "cloudbus/app/config.h"
#include "cloudbus/core/byte_queue.h"
#include "cloudbus/core/codes.h"
#include "cloudbus/core/session.h"
#include "cloudbus/core/uuid.h"
#include "cloudbus/net/connection.h"

namespace cloudbus {

class Peer;
class Worker;

using PeerId = std::uint64_t;

class Relay final : private ConnectionOwner {
 public:
  // Of a controller, around a client's socket. It waits for open_on().
  Relay(Worker& worker, OwnerId id, const ServiceConfig& service, int client_fd, const Address& client);
  // Of a segment, for a stream that was opened. It waits for dial().
  Relay(Worker& worker, OwnerId id, const ServiceConfig& service, Peer& peer, StreamId stream,
        const OpenRequest& request);
  ~Relay();

  OwnerId id() const { return id_; }
  bool is_waiting() const { return stage_ == Stage::Waiting || stage_ == Stage::Queued; }
  bool is_closed() const { return stage_ == Stage::Closed; }

  // Controller: opens the stream on a session that takes it.
  void open_on(Peer& peer);
  // Segment: starts to connect to the backend. False when there is no descriptor for it: then wait_again().
  bool dial();
  void wait_again();

  // --- What the peer says ---
  void on_accepted();
  void on_data(iovec* parts, int count, std::size_t size);
  void on_finished();
  void on_stopped(StreamCode code);
  // The stream is gone; what came before is delivered, then the socket is reset.
  void on_reset(StreamCode code);

  // It is this stream's turn: reads from the socket into the session.
  void fill(Session& session, const Session::Turn& turn);

  // Ends the conversation at once, on both sides.
  void abort(StreamCode code);

  void on_deadline(Time now);

  // A read that took less than it asked for has emptied the socket, but a reset that came with the last bytes may be
  // behind them, and no event will tell. Looks once the socket has been quiet; false while it has not.
  bool look_behind(Time now);

 private:
  //   controller:  waiting --open_on--> opening --ACCEPT--> open
  //   segment:     queued --dial--> dialing --connected--> open
  //   any --> closed
  enum class Stage : std::uint8_t { Waiting, Opening, Queued, Dialing, Open, Closed };
  enum class Side : std::uint8_t { None, Client, Server };

  void on_ready(Ready ready) noexcept override;
  Session* session();
  bool is_controller() const;
  Side near_side() const { return is_controller() ? Side::Client : Side::Server; }
  Side far_side() const { return is_controller() ? Side::Server : Side::Client; }
  StreamCode near_reset() const { return is_controller() ? StreamCode::ClientReset : StreamCode::ServerReset; }

  bool start_builtin();
  void connected();
  bool dial_failed(int error);
  void leave_dialing();

  void read_ended();
  void note_first_bytes(const iovec& part, std::size_t bytes) const;
  void write_now(iovec* parts, int count, std::size_t size);
  void write_pending();
  void after_write(std::size_t bytes);
  void on_write_failed(Io status);
  void finish_if_drained();
  void discard(std::size_t bytes);
  void drop_pending();
  void reset_if_drained();
  void close_if_done();
  void close(std::string_view end);
  void close_with(StreamCode code);

  Time next_deadline() const;
  void arm();
  void log_step(std::string_view what) const;
  void log_conversation(std::string_view end) const;
  std::string fin_words() const;

  Worker& worker_;
  const ServiceConfig& service_;
  OwnerId id_;
  PeerId peer_ = 0;
  StreamId stream_ = 0;
  Connection connection_;
  ByteQueue pending_;  // toward the socket
  std::string client_;
  Uuid conversation_{};

  Time started_, opened_{}, last_activity_;
  Time armed_ = Time::max();
  std::uint64_t read_ = 0, written_ = 0;  // bytes from and to the socket
  std::uint32_t read_size_;               // bytes, grows with what the socket has
  int dial_error_ = 0;                    // of errno, of the last try
  Stage stage_;
  Side first_fin_ = Side::None;
  StreamCode end_code_ = StreamCode::Cancelled;
  bool readable_ = true;  // as far as is known: there may be bytes from the start
  bool writable_ = true;
  bool ending_ = false;        // the socket's end stands behind what can be read
  bool emptied_ = false;       // by a short read; look_behind() has not looked since
  bool is_listed_ = false;     // for look_behind()
  bool read_done_ = false;     // EOF was read, or the peer wants no more
  bool fin_received_ = false;  // the peer's direction is complete
  bool write_done_ = false;    // everything was written, and so was FIN
  bool broken_ = false;        // the socket broke; what it still holds is read, then the stream is reset
  bool cut_ = false;           // a direction was stopped in mid-stream: this ends with a reset
  bool reset_pending_ = false;
  bool has_end_code_ = false;
};

}  // namespace cloudbus
