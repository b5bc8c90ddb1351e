// SPDX-License-Identifier: Apache-2.0
#pragma once

// What Relay does, without sockets, links and timers: carries out what a Flow says, with the socket of an application,
// and looks whether that may be. FanoutRelay and OneToOneRelay have the streams.

#include <string>
#include <utility>

#include "cloudbus/core/flow/flow.h"
#include "core/simulator/simulated_application.h"

namespace cloudbus {

class SimulatedRelay {
 public:
  virtual ~SimulatedRelay() = default;

  const Flow& flow() const { return flow_; }
  bool is_closed() const { return stage_ == Stage::Closed; }
  // Bytes of the stream for which credit is due.
  std::uint64_t due() const { return due_; }

  // --- What happened to the socket ---
  void on_socket_readable();
  void on_socket_writable();
  void on_socket_reset();
  // The application has read all that was written.
  void on_socket_delivered() { settle(); }

  virtual Time next_deadline() const;
  virtual void on_time();

 protected:
  // A segment's relay goes from waiting to open, a controller's may be opening between.
  enum class Stage { Waiting, Opening, Open, Closed };
  enum class Io { Done, Again, End, Broken, NotReading };
  struct Result {
    Io status;
    std::size_t bytes = 0;
  };

  SimulatedRelay(SimulatedWorld& world, SimulatedApplication& application, Flow::Side near, Budget& budget);

  // --- Of the stream, or of the streams ---
  virtual void want() = 0;
  virtual void finish_stream() = 0;
  virtual void stop_stream(StreamCode code) = 0;
  virtual void reset_stream(StreamCode code) = 0;
  virtual void give_credit(std::size_t bytes) = 0;
  virtual bool is_stream_over() const { return true; }
  virtual void on_read(std::size_t /*bytes*/) {}
  // The socket took these bytes: they are what it is to get next.
  virtual void on_taken(Bytes bytes) = 0;
  virtual void on_close() = 0;

  bool can_read() const { return stage_ != Stage::Closed && flow_.reads(); }
  Result read_some(iovec* parts, int count, std::size_t size);
  void after_read(Io status);
  void deliver(iovec* parts, int count, std::size_t size);
  void write_pending();
  void end_delivery();
  void stop_reading(StreamCode code);
  void break_off(StreamCode code);
  void abort(StreamCode code);
  // What follows from all that happened.
  void settle();
  void check_credit() const;

  template <typename... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) const {
    if (world_.trace) world_.say("{} {}", application_.name, fmt::format(format, std::forward<Args>(args)...));
  }

  SimulatedWorld& world_;
  SimulatedApplication& application_;
  Budget& budget_;
  Flow flow_;
  Stage stage_ = Stage::Waiting;

 private:
  Result write(const iovec* parts, int count);
  void write_now(iovec* parts, int count, std::size_t size);
  void on_write_failed(Io status);
  void pay(std::size_t bytes);
  void run(Flow::Action action);
  void finish_socket();
  void reset_socket();
  void close();

  bool knows_reset_ = false;  // of the application: its socket has told
  bool was_stopped_ = false;
  std::string prefix_;                          // stands before the stream's bytes
  std::size_t prefix_taken_ = 0;                // of it, by the socket
  std::uint64_t delivered_ = 0;                 // bytes of the stream that were not discarded
  std::uint64_t due_ = 0;                       // bytes for which credit is due
  Time emptied_at_{}, reset_at_ = Time::max();  // when the socket was read, when a reset waits no more
};

}  // namespace cloudbus
