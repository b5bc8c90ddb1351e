// SPDX-License-Identifier: Apache-2.0
#pragma once

// One client, N legs: which of them are opened, what each is sent, whose answers reach the client, and when it is over.
//
// What happens to the legs and to the client comes in; what is to be done with the legs' streams comes out as commands,
// and what the client gets as verdicts. cloudbus.ini(5), MODES, tells what the modes promise.

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
  HalfDuplex,  // the first server that answers is the only one from then on
  FullDuplex,  // all answers are merged
  Publish,     // all answers are discarded
  Balance,     // one server for each client
};

std::string_view name_of(Mode mode);

struct FanoutLimits {
  std::uint32_t legs = 0;                       // how many servers a client is sent to; 0 is all of them
  std::uint32_t quorum = 1;                     // legs that are accepted before anything is sent
  std::uint64_t lag = std::uint64_t{16} << 20;  // bytes that a leg may be behind the fastest

  bool operator==(const FanoutLimits&) const = default;
};

//   waiting --on_opened()--> opening --ACCEPT--> open --both directions have ended--> ended
//   any of the first three --RESET, link lost, refused--> failed
//   any of the first three --we ended it--> dropped
enum class LegState : std::uint8_t { Waiting, Opening, Open, Ended, Failed, Dropped };

struct Leg {
  explicit Leg(ServerIndex its_server) : server(its_server) {}

  ServerIndex server;
  LegState state = LegState::Waiting;
  StreamCode code = StreamCode::Cancelled;  // why it failed or was dropped
  bool takes = true;                        // it is to be sent the client's bytes, and then FIN
  bool finished = false;                    // it was sent them all, and FIN
  bool answers = true;                      // its server may say more
  bool answered = false;                    // bytes of it went to the client
  std::uint64_t sent = 0;                   // bytes of the client
  std::uint64_t sent_before = 0;            // when it was begun to be waited for
  bool is_slow = false;                     // it is not waited for, until it has caught up
  ByteQueue held;                           // bytes toward the client that cannot go there yet
  std::size_t held_part = 0;                // of them, at the end: a frame that has not all arrived
  std::uint64_t held_since = 0;             // counts up with each leg that begins to hold

  bool is_living() const { return state == LegState::Waiting || has_stream(); }
  bool has_stream() const { return state == LegState::Opening || state == LegState::Open; }
};

class Fanout {
 public:
  // `order` has the servers that may be tried, by preference: as many as the quorum or more. The pool and the budget
  // outlive this.
  Fanout(Mode mode, const FanoutLimits& limits, std::vector<ServerIndex> order, SlabPool& pool, Budget& budget);

  // What is to be done for the legs, in this order. Look after every call.
  struct Command {
    enum class Kind : std::uint8_t {
      Open,    // a stream for the leg, then on_opened(); or on_failed() when there can be none
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

  // Another server could still be tried: no bytes are forgotten, and one is left.
  bool can_begin() const { return next_ < order_.size() && backlog_.begin() == 0; }

  // --- What the legs say ---------------------------------------------------------------------------------------

  void on_opened(LegId id);
  void on_accepted(LegId id);
  // The stream is gone, or could not be opened.
  void on_failed(LegId id, StreamCode code);
  // Instead of on_failed(), where the same server can be had elsewhere: true when nothing was delivered, and the leg
  // waits for another stream.
  bool begin_again(LegId id, StreamCode code);
  // The server's FIN, behind all of its bytes.
  void on_finished(LegId id);
  // The server reads no more.
  void on_stopped(LegId id, StreamCode code);
  // connect_timeout is over: legs that are not accepted are given up.
  void on_connect_timeout();

  // Bytes came. Of `size`, the last `part` belong to a frame that has not all arrived. The first `deliver` of them go
  // to the client, behind what the leg holds; the next `hold` are for hold(); others are discarded.
  struct Verdict {
    std::size_t deliver, hold;
  };
  Verdict on_data(LegId id, std::size_t size, std::size_t part);
  // `is_part`: they belong to a frame that has not all arrived.
  void hold(LegId id, Bytes bytes, bool is_part);

  // A leg whose first held bytes are to go to the client now: of several, the one that began to hold first. take_held()
  // says that they went.
  struct Release {
    LegId leg;
    std::size_t bytes;
  };
  std::optional<Release> release() const;
  void take_held(LegId id, std::size_t bytes);
  // The client reads no more: answers are not waited for, and the servers are told so, those of later legs too.
  void stop_answers(StreamCode code);

  // --- The client's bytes ----------------------------------------------------------------------------------------

  // They need not pass through the backlog: this leg is the only one that there is and will be.
  bool is_direct(LegId id) const;
  // Bytes of the backlog that the leg may be sent now.
  std::uint64_t unsent(LegId id) const;
  // The first of them that lie in one piece.
  Slice piece(LegId id) const { return backlog_.piece(legs_[id].sent); }
  void on_sent(LegId id, std::size_t bytes, Time now);
  // The leg has sent all that there is, and more may be read from the client: so many bytes, or 0.
  std::size_t may_read(LegId id) const;
  iovec reserve(std::size_t bytes) { return backlog_.reserve(bytes); }
  // So many bytes were read, to be sent by this leg first; 0 where nothing came.
  void commit(LegId id, std::size_t bytes);
  // The client's FIN.
  void finish();
  // The client is gone, or nothing is to reach it any more: what is left of the legs is reset.
  void abandon(StreamCode code);
  // Goes on without a leg that was waited for in vain.
  void on_time(Time now);
  Time next_deadline() const { return wait_until_; }
  // Where in the client's stream the leg is that was sent most, of those that read on or were sent all.
  std::uint64_t front() const;
  std::uint64_t kept() const { return backlog_.end() - backlog_.begin(); }

  // --- What it means for the client ------------------------------------------------------------------------------

  enum class Answer : std::uint8_t {
    Coming,
    Finished,  // all answers are complete: FIN
    Broken,    // a reset, with code()
  };
  Answer answer() const;
  StreamCode code() const { return code_; }
  // No leg takes the client's bytes any more, though the client has not ended; with code().
  bool is_stopped() const;
  // Nothing is left to be sent to a leg, and nothing will come from one.
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
  std::size_t next_ = 0;  // in order_: the server to be tried next
  std::deque<Leg> legs_;
  Backlog backlog_;
  std::deque<Command> commands_;
  std::optional<LegId> winner_;
  // A leg that is only a little slower is waited for, so that it is not lost: see wait_for_laggards().
  Time now_{};
  Time wait_since_{}, wait_until_ = Time::max();  // max: nobody is waited for
  Time run_since_{};                              // nobody was; none: since the next bytes are sent
  std::uint64_t run_front_ = 0;                   // front() then
  double run_speed_ = 0;                          // of the front in that time, bytes for each microsecond
  std::size_t held_ = 0;                          // bytes, of all legs
  std::uint64_t holders_ = 0;
  bool open_ = false;
  bool finished_ = false;  // the client's FIN was read
  bool broken_ = false;
  bool cut_ = false;                // a leg was lost in the middle of its answer
  std::optional<StreamCode> stop_;  // the client reads no more
  StreamCode code_ = StreamCode::Cancelled;
};

}  // namespace cloudbus
