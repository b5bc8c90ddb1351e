// SPDX-License-Identifier: Apache-2.0
#pragma once

// One conversation in one daemon: joins a socket (the client's in a controller, the server's in a segment) to a stream.
// What is the same for both is here. client_relay.h and server_relay.h have how they begin, and the former what is
// different with several streams.

#include <sys/uio.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cloudbus/app/link/links.h"
#include "cloudbus/app/log/log.h"
#include "cloudbus/app/roster/conversation.h"
#include "cloudbus/app/service/service.h"
#include "cloudbus/core/base/short_text.h"
#include "cloudbus/core/base/uuid.h"
#include "cloudbus/core/flow/flow.h"
#include "cloudbus/core/session/session.h"
#include "cloudbus/core/wire/codes.h"
#include "cloudbus/net/connection.h"

namespace cloudbus {

class Peer;
class Worker;

// Who may end what, by which call, and what the other side sees. Flow decides; the relay carries out.
//
//   who, and what                    call here                     the stream                the socket's peer
//   the socket's peer: FIN           read_ended()                  FIN, behind all bytes     goes on to receive
//   the socket's peer: reset         read: Io::Broken              RESET, at once            -
//                                    on_write_failed(Broken)       what was sent before,     -
//                                                                  then RESET
//   the socket's peer (Unix): reads  on_write_failed(NotReading)   STOP                      may send on; reset when
//   no more                                                                                  it has ended, too
//   the stream's peer: FIN           on_finished()                 -                         FIN, behind all bytes
//   the stream's peer: STOP          on_stopped()                  -                         is read no more; FIN,
//                                                                                            then reset
//   the stream's peer: RESET; a      on_reset()                    -                         all bytes that came, then
//   link that is lost                                                                        reset
//   both have ended                  settle(): close()             is over                   a closed socket
//   a timer, the service, a drain    abort()                       RESET with the code       reset, at once
//
// The codes of RESET and STOP are client-reset in a controller and server-reset in a segment where none is named. A
// reset waits until the kernel of the socket's peer has what stands before it, but no longer than reset_patience();
// abort() and a socket that broke do not wait. With several streams, Fanout says which of them an end concerns.
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
  bool says_little() const override { return read_doublings_ == 0; }
  void on_drain() override;
  void abort(StreamCode code) override;
  void on_deadline(Time now) override;
  // A read that took less than it asked for has emptied the socket, but a reset that came with the last bytes may be
  // behind them, and no event will tell.
  bool look_behind(Time now) override;

 protected:
  static constexpr std::size_t kSmallRead = 16 * 1024;  // bytes
  std::size_t read_size() const { return kSmallRead << read_doublings_; }

  //   controller:  waiting --a stream is opened--> opening --ACCEPT--> open
  //   segment:     waiting --dial()--> dialing --connected--> open
  //   any --> closed
  enum class Stage : std::uint8_t { Waiting, Opening, Dialing, Open, Closed };
  using Side = Flow::Side;

  Relay(Worker& worker, const ServiceRef& service, Side near, std::string_view client, const Uuid& conversation);

  // --- Of the stream, or of the streams ---
  virtual void want();
  virtual void finish_stream();
  virtual void stop_stream(StreamCode code);
  virtual void reset_stream(StreamCode code);
  // So many bytes have gone where they will ever go: the peer may send as many more.
  virtual void give_credit(std::size_t bytes);
  // All that was read from the socket has gone to the link, or the links.
  virtual bool is_sent() const;
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

  // The link is there, and nothing waits for it.
  bool is_link_clear(PeerId peer) const;
  Session* session();
  // `address`: of the other end.
  void start_connection(int fd, const Address& address);
  void close_connection();
  // There is little memory for its service.
  bool is_pressed() const { return service_.service().memory().pressed(); }
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
  // Does what follows from all that happened.
  void settle();
  void arm();
  void log_step(std::string_view what) const;

  Worker& worker_;
  ServiceRef service_;
  PeerId peer_ = 0;  // where there is one stream
  StreamId stream_ = 0;
  [[no_unique_address]] Connection connection_;  // what follows stands in its padding
  Stage stage_ : 3 = Stage::Waiting;
  bool is_listed_ : 1 = false;           // for look_behind()
  bool is_remote_ : 1 = false;           // the socket's peer may vanish in silence
  std::uint8_t read_doublings_ : 4 = 0;  // of read_size(); it grows with what the socket has
  Flow flow_;
  ShortText client_;
  Uuid conversation_;

  Time started_, opened_{}, last_activity_;
  Time armed_ = Time::max();  // on_deadline() comes then

 private:
  Time next_look_for_peer() const;
  void on_ready(Ready ready) noexcept override;
  void read_ended();
  void write_now(iovec* parts, int count, std::size_t size);
  void after_write(std::size_t bytes);
  void run(Flow::Action action);
  bool is_idle(Time now) const;
  Time next_idle_look() const;
  void reset();
  void close(std::string_view end);
  void log_conversation(std::string_view end) const;
  void log_descriptors() const;
  std::string_view fin_words() const;

  std::uint64_t read_ = 0, written_ = 0;  // bytes of the stream, from and to the socket
};

}  // namespace cloudbus
