// SPDX-License-Identifier: Apache-2.0
#pragma once

// One client's conversation in one daemon, as the worker and the links know it: whatever owns a stream, or several
// streams, its legs.

#include <sys/uio.h>

#include <cstddef>

#include "cloudbus/app/config/config.h"
#include "cloudbus/core/session/session.h"
#include "cloudbus/net/timers.h"

namespace cloudbus {

class Conversation : public TimerOwner {
 public:
  virtual ~Conversation() = default;

  OwnerId id() const { return id_; }
  virtual bool is_closed() const = 0;
  virtual ServiceId service() const = 0;
  // For so long its streams wait for another link.
  virtual Duration resume_wait() const = 0;

  // --- What the session says of the stream that is this leg ---
  virtual void on_accepted(LegId leg) = 0;
  // Of the bytes, the last `part` belong to a frame that has not all arrived.
  virtual void on_data(LegId leg, iovec* parts, int count, std::size_t size, std::size_t part) = 0;
  // on_finished() follows whatever on_data() brings now.
  virtual void expect_finish() = 0;
  virtual void on_finished(LegId leg) = 0;
  virtual void on_stopped(LegId leg, StreamCode code) = 0;
  // The stream is gone; what came before is delivered, then the socket is reset.
  virtual void on_reset(LegId leg, StreamCode code) = 0;
  // Before it, where the other end said why.
  virtual void on_reset_reason(std::string_view) {}

  // The stream may send: reads from the socket into the session.
  virtual void fill(Session& session, const Session::Quantum& quantum, LegId leg) = 0;
  // Its socket had little to read lately.
  virtual bool says_little() const = 0;

  // The daemon drains from now on: ends once it is idle. See Config::drain_idle.
  virtual void on_drain() = 0;

  // Ends the conversation at once, on both sides.
  virtual void abort(StreamCode code) = 0;

  // Looks whether a reset stands behind the last bytes that were read, once the socket has been idle for
  // Roster::kLookBehindAfter; false while it has not.
  virtual bool look_behind(Time now) = 0;

 protected:
  explicit Conversation(OwnerId id) : id_(id) {}

 private:
  OwnerId id_;
};

}  // namespace cloudbus
