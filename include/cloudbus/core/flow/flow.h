// SPDX-License-Identifier: Apache-2.0
#pragma once

// The two directions of one conversation in one daemon, between a socket and its stream, or its legs: when each of them
// ends and how, what stands before its end, and when credit is given.
//
// What happened to the socket and to the stream comes in; what is to be done comes out as values. Nothing is read,
// written or timed here. Whoever has the socket and the stream carries out every Action that a call returns, and then
// asks next() until there is none.

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "cloudbus/core/base/bytes.h"
#include "cloudbus/core/flow/byte_queue.h"
#include "cloudbus/core/flow/window.h"
#include "cloudbus/core/wire/codes.h"

namespace cloudbus {

class Flow {
 public:
  enum class Side : std::uint8_t { Client, Server };

  // `near` is whose socket it is.
  explicit Flow(Side near) : near_(near) {}

  enum class Action : std::uint8_t {
    None,
    Want,           // Session::want: the socket broke, and what it holds is still to be read
    FinishStream,   // Session::finish: all was read
    StopStream,     // Session::stop, with code()
    FinishSocket,   // FIN: all was written
    StopSocket,     // the socket is read no more
    AwaitDelivery,  // the socket is reset once its peer has what was written: next() again, soon
    Close,          // both directions have ended
    Reset,          // the stream is gone: the socket is reset
    Abort,          // the socket is gone: the stream is reset with code(), and the socket
  };

  // --- From the socket to the stream ---------------------------------------------------------------------------

  // The socket is to be read, as far as its side of the stream goes.
  bool reads() const { return reading_ <= Reading::Broken && writing_ < Writing::Resetting; }
  // As far as is known there is something to be read: there may be from the start.
  bool is_readable() const { return readable_; }
  void on_readable() { readable_ = true; }
  // Nothing is known to be there before on_readable().
  void wait_readable() { readable_ = false; }
  // The socket's end stands behind what can be read.
  void expect_end() { ending_ = true; }
  // `bytes` of those that were `asked` for were read; 0 when there are none now.
  void on_read(std::size_t bytes, std::size_t asked) {
    readable_ = bytes > 0 && (bytes == asked || ending_);
    at_end_ = readable_ && bytes < asked;
    emptied_ = bytes > 0 && !readable_;
    if (bytes > 0) last_ = near_;
  }
  // Nothing but the end is left: it is read at once, so that FIN can go with the bytes.
  bool is_at_end() const { return at_end_; }
  // A read that took less than it asked for has emptied the socket. A reset that came with the last bytes may be behind
  // them, and no event will tell: this is true until the socket was looked at again.
  bool was_emptied() const { return emptied_; }
  void look_again() {
    emptied_ = false;
    readable_ = true;
  }
  // While reading waits for credit, or has ended, nothing else would tell that the socket broke.
  bool looks_for_errors() const { return reading_ != Reading::Broken && (readable_ || !reads()); }

  Action on_read_end();
  // Reading met a reset, or another error.
  Action on_read_failed();
  // The stream's peer reads no more.
  Action on_stop(StreamCode code);

  // --- From the stream to the socket ---------------------------------------------------------------------------

  // Bytes that stand before the stream's own and earn no credit. Before anything else is kept or written.
  void put_prefix(Bytes prefix, Budget& budget);

  // What becomes of bytes of the stream that come now.
  enum class Delivery : std::uint8_t {
    Write,    // then on_written(), and keep() for the rest
    Keep,     // keep(): others stand before them, or the socket takes nothing
    Discard,  // credit is due for them at once
  };
  Delivery delivery() const {
    if (writing_ != Writing::Open) return Delivery::Discard;
    return pending_.empty() && writable_ ? Delivery::Write : Delivery::Keep;
  }
  // All but the first `skip` bytes wait until the socket takes them.
  void keep(const iovec* parts, int count, std::size_t skip, Budget& budget);
  bool has_pending() const { return !pending_.empty(); }
  std::size_t pending() const { return pending_.size(); }
  int gather(iovec* out, int most) const { return pending_.gather(out, most); }
  // The socket took so many bytes, of the pending ones first. For how many of them credit is due.
  std::size_t on_written(std::size_t bytes) {
    if (!pending_.empty()) pending_.pop(bytes);
    last_ = far();
    return prefix_ == 0 ? bytes : without_prefix(bytes);
  }
  void on_blocked() { writable_ = false; }
  void on_writable() { writable_ = true; }

  struct Failure {
    std::size_t credit;  // for what was pending: it has gone where it will ever go
    Action action;
  };
  // `takes_no_more`: the socket's peer reads no more, and may still write. Otherwise the socket broke.
  Failure on_write_failed(bool takes_no_more);

  // on_finish() follows the bytes that come now.
  void expect_finish() { fin_follows_ = writing_ == Writing::Open && reading_ != Reading::Stopped; }
  // They are the last ones: FIN can go with them.
  bool finish_follows() const { return fin_follows_; }
  // The stream's FIN, or those of all legs that may still say something.
  void on_finish();
  // The stream is gone, or its legs. What came before is delivered, then the socket is reset.
  void on_reset(StreamCode code);

  // --- Ends ----------------------------------------------------------------------------------------------------

  struct Facts {
    bool is_open;         // both sides are connected
    bool is_stream_over;  // nothing is left to be sent, where there are several streams
    bool is_delivered;    // the socket's peer has all that was written: of interest while is_resetting()
  };
  // What follows from all that happened.
  Action next(const Facts& facts);
  // next() may have something to say: worth the facts.
  bool is_ending() const { return writing_ != Writing::Open && writing_ != Writing::Closed; }
  bool is_resetting() const { return writing_ == Writing::Resetting; }

  // Ends both at once.
  Action abort(StreamCode code);
  // The socket is closed: nothing follows any more, and what is pending has nowhere to go.
  void close();

  // Nothing waits here: all that the socket has was read, and all that came for it was written.
  bool is_quiet() const {
    bool is_written = writing_ == Writing::Open || writing_ == Writing::Finished;
    return pending_.empty() && is_written && !(readable_ && reads());
  }
  // Who has sent, or ended, last; the client if nobody has.
  Side last() const { return last_; }

  Side near() const { return near_; }
  // One of the two directions has ended.
  bool is_half_closed() const { return first_end_ != FirstEnd::None || reading_ != Reading::Open; }
  bool has_near_ended_first() const { return first_end_ == FirstEnd::Near; }
  // Of what was stopped or reset.
  StreamCode code() const { return code_; }
  StreamCode near_reset() const { return near_ == Side::Client ? StreamCode::ClientReset : StreamCode::ServerReset; }

 private:
  //   open --the socket's end--> ended
  //   open --STOP or RESET of the stream--> stopped
  //   open --a write failed--> broken --the end of what the socket still holds: abort--> closed
  enum class Reading : std::uint8_t { Open, Broken, Ended, Stopped };

  //   open --FIN of the stream--> finishing --all is written--> finished
  //   open, finishing, finished --a write failed--> discarding
  //   any of these --RESET of the stream--> resetting
  //   finished, discarding --reading has ended, too--> closed, or resetting where a direction was cut short
  //   resetting --what was written is delivered--> closed
  //   any --abort--> closed
  enum class Writing : std::uint8_t { Open, Finishing, Finished, Discarding, Resetting, Closed };

  enum class FirstEnd : std::uint8_t { None, Near, Far };

  Side far() const { return near_ == Side::Client ? Side::Server : Side::Client; }
  std::size_t without_prefix(std::size_t bytes);
  std::size_t drop_pending();
  Action close_with(Action action);
  // A direction was stopped in mid-stream: this ends with a reset.
  bool was_cut_short() const { return reading_ == Reading::Stopped || writing_ == Writing::Discarding; }

  ByteQueue pending_;
  std::uint32_t prefix_ = 0;  // of what is pending, at its beginning
  StreamCode code_ = StreamCode::Cancelled;
  // Bits, as there may be very many.
  Side near_ : 1;
  Reading reading_ : 2 = Reading::Open;
  Writing writing_ : 3 = Writing::Open;
  FirstEnd first_end_ : 2 = FirstEnd::None;
  bool readable_ : 1 = true;
  bool ending_ : 1 = false;
  bool at_end_ : 1 = false;
  bool emptied_ : 1 = false;
  bool writable_ : 1 = true;
  bool fin_follows_ : 1 = false;
  Side last_ : 1 = Side::Client;
};

}  // namespace cloudbus
