// SPDX-License-Identifier: Apache-2.0
#pragma once

// One client, N legs: which legs are opened, what each leg is sent, whose answers reach the client, and when it ends.
//
// What happens to the legs and to the client comes in. What to do with the legs' streams comes out as commands, and
// what the client gets comes out as verdicts. cloudbus.ini(5), MODES, says what the modes promise.

#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <vector>

#include "cloudbus/core/base/time.h"
#include "cloudbus/core/fanout/backlog.h"
#include "cloudbus/core/flow/byte_queue.h"
#include "cloudbus/core/policy/balance.h"
#include "cloudbus/core/session/stream.h"
#include "cloudbus/core/wire/codes.h"

namespace cloudbus {

enum class Mode : std::uint8_t {
  OneToOne,
  HalfDuplex,  // the first server that answers serves the client alone from then on
  FullDuplex,  // all answers are merged
  Publish,     // all answers are discarded
  Balance,     // one server for each client
};

std::string_view name_of(Mode mode);

struct FanoutLimits {
  std::uint32_t legs = 0;                       // how many servers a client is sent to; 0 is all of them
  std::uint32_t quorum = 1;                     // legs that must be accepted before anything is sent
  std::uint64_t lag = std::uint64_t{16} << 20;  // bytes that a leg may be behind the fastest

  bool operator==(const FanoutLimits&) const = default;
};

//   waiting --on_opened()--> opening --ACCEPT--> open --both directions have ended--> ended
//   any of the first three --RESET, link lost, refused--> failed
//   any of the first three --given up by this end--> dropped
enum class LegState : std::uint8_t { Waiting, Opening, Open, Ended, Failed, Dropped };

struct Leg {
  explicit Leg(ServerIndex its_server) : server(its_server) {}

  ServerIndex server;
  LegState state = LegState::Waiting;
  StreamCode code = StreamCode::Cancelled;  // why the leg failed or was dropped
  bool takes = true;                        // the client's bytes are still to be sent, and then FIN
  bool finished = false;                    // all of the client's bytes were sent, and FIN
  bool answers = true;                      // the server may send more
  bool answered = false;                    // bytes of the server went to the client
  std::uint64_t sent = 0;                   // bytes of the client
  std::uint64_t sent_before = 0;            // `sent` when the current wait for laggards began
  bool is_slow = false;                     // the leg is not waited for until it has caught up
  ByteQueue held;                           // bytes toward the client that cannot be delivered yet
  std::size_t held_part = 0;                // bytes at the end of `held`: a frame that has arrived in part
  std::uint64_t held_since = 0;             // increases with each leg that begins to hold bytes

  bool is_living() const { return state == LegState::Waiting || has_stream(); }
  bool has_stream() const { return state == LegState::Opening || state == LegState::Open; }
};

class Fanout {
 public:
  // `order` has the servers that may be tried, by preference: at least as many as the quorum. The pool and the budget
  // outlive the fan-out.
  Fanout(Mode mode, const FanoutLimits& limits, std::vector<ServerIndex> order, SlabPool& pool, Budget& budget);

  // What to do for the legs, in this order. Call next_command() after every other call.
  struct Command {
    enum class Kind : std::uint8_t {
      Open,    // open a stream for the leg, then call on_opened(); or on_failed() when that is impossible
      Want,    // Session::want
      Finish,  // Session::finish
      Stop,    // Session::stop
      Reset,   // Session::reset, if the leg has a stream
    };
    Kind kind;
    LegId leg;
    StreamCode code = StreamCode::Cancelled;  // of a Stop or a Reset
  };
  std::optional<Command> next_command();

  Mode mode() const { return mode_; }
  const Leg& leg(LegId id) const { return legs_[id]; }
  LegId leg_count() const { return static_cast<LegId>(legs_.size()); }
  bool is_open() const { return open_; }                   // the quorum was reached
  std::optional<LegId> winner() const { return winner_; }  // of the latch

  // Another server could still be tried: one remains, and no bytes are forgotten.
  bool can_begin() const { return next_ < order_.size() && backlog_.begin() == 0; }

  // Without this leg there would be too few, and no other server could take its place.
  bool is_last(LegId id) const;

  // --- Events of the legs --------------------------------------------------------------------------------------

  void on_opened(LegId id);
  void on_accepted(LegId id);
  // The leg's stream is gone, or could not be opened.
  void on_failed(LegId id, StreamCode code);
  // Instead of on_failed(), where the same server has another address: true when nothing was delivered, and the leg
  // waits for another stream.
  bool begin_again(LegId id, StreamCode code);
  // The server's FIN, behind all of its bytes.
  void on_finished(LegId id);
  // The server no longer reads.
  void on_stopped(LegId id, StreamCode code);
  // connect_timeout is over: legs that are not accepted yet are given up.
  void on_connect_timeout();

  // `size` bytes came; the last `part` of them belong to a frame that has not all arrived. The first `deliver` bytes go
  // to the client, behind what the leg holds; the next `hold` bytes are for hold(); the rest is discarded.
  struct Verdict {
    std::size_t deliver, hold;
  };
  Verdict on_data(LegId id, std::size_t size, std::size_t part);
  // `is_part`: the bytes belong to a frame that has not all arrived.
  void hold(LegId id, Bytes bytes, bool is_part);

  // The leg whose first held bytes go to the client now: of several, the leg that began to hold first. take_held() says
  // that the bytes went.
  struct Release {
    LegId leg;
    std::size_t bytes;
  };
  std::optional<Release> release() const;
  void take_held(LegId id, std::size_t bytes);
  // The client no longer reads: answers are not waited for, and all servers are told so, those of later legs too.
  void stop_answers(StreamCode code);

  // --- The client's bytes ----------------------------------------------------------------------------------------

  // The client's bytes need not pass through the backlog: this leg is the only one, and will remain so.
  bool is_direct(LegId id) const;
  // How many bytes of the backlog the leg may be sent now.
  std::uint64_t unsent(LegId id) const;
  // The first contiguous part of them.
  Slice piece(LegId id) const { return backlog_.piece(legs_[id].sent); }
  void on_sent(LegId id, std::size_t bytes, Time now);
  // How many bytes may be read from the client, when the leg has sent all of the backlog; otherwise 0.
  std::size_t may_read(LegId id) const;
  iovec reserve(std::size_t bytes) { return backlog_.reserve(bytes); }
  // `bytes` were read, and this leg sends them first; 0 if nothing came.
  void commit(LegId id, std::size_t bytes);
  // The client's FIN.
  void finish();
  // The client is gone, or nothing more may reach it: the remaining legs are reset.
  void abandon(StreamCode code);
  // Goes on without a leg that did not catch up in time.
  void on_time(Time now);
  Time next_deadline() const { return wait_until_; }
  // The offset in the client's stream that the fastest leg has reached. Legs that stopped taking bytes do not count.
  std::uint64_t front() const;
  std::uint64_t kept() const { return backlog_.end() - backlog_.begin(); }

  // --- What the client gets --------------------------------------------------------------------------------------

  enum class Answer : std::uint8_t {
    Coming,
    Finished,  // all answers are complete: FIN
    Broken,    // a reset, with code()
  };
  Answer answer() const;
  StreamCode code() const { return code_; }
  // No leg takes the client's bytes any longer, though the client has not ended; with code().
  bool is_stopped() const;
  // No leg has anything more to send or to receive.
  bool is_over() const { return count_living() == 0; }
  // A leg waits for ACCEPT.
  bool is_opening() const;

 private:
  bool sends() const { return open_ || limits_.quorum <= 1; }
  bool is_undelivered(const Leg& leg, StreamCode code) const;
  void begin();
  void open();
  void latch(LegId id);
  void lose(LegId id, LegState state, StreamCode code);
  void drop(LegId id, StreamCode code);
  void drop_all(StreamCode code);
  std::uint64_t most_lag() const;
  void drop_laggards();
  void wait_for_laggards();
  void go_on();
  void start_run(Time since);
  void finish_if_sent(LegId id);
  void end_if_over(LegId id);
  void look_at_quorum();
  void trim();
  bool is_alone(LegId id) const;
  std::size_t count_living() const;
  void command(Command::Kind kind, LegId leg, StreamCode code = StreamCode::Cancelled);

  Mode mode_;
  FanoutLimits limits_;
  Budget& budget_;
  std::vector<ServerIndex> order_;
  std::size_t next_ = 0;  // the index in order_ of the server to try next
  std::deque<Leg> legs_;
  Backlog backlog_;
  std::deque<Command> commands_;
  std::optional<LegId> winner_;
  // A leg that is only a little slower is waited for, so that it is not dropped: see wait_for_laggards().
  Time now_{};
  Time wait_since_{}, wait_until_ = Time::max();  // max: no leg is waited for
  Time run_since_{};                              // since when no leg was waited for; 0: from the next bytes on
  std::uint64_t run_front_ = 0;                   // front() at run_since_
  double run_speed_ = 0;                          // of the front in the last run, bytes/us
  std::size_t held_ = 0;                          // bytes that all legs hold
  std::uint64_t holders_ = 0;
  bool open_ = false;
  bool finished_ = false;  // the client's FIN was read
  bool broken_ = false;
  bool cut_ = false;                // a leg was lost in the middle of its answer
  std::optional<StreamCode> stop_;  // the client no longer reads
  StreamCode code_ = StreamCode::Cancelled;
};

}  // namespace cloudbus
