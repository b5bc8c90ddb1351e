// SPDX-License-Identifier: Apache-2.0
#pragma once

// One client, N legs: which of them are opened, what each is sent, whose answers reach the client, and when it is over.
//
// What happens to the legs and to the client comes in; what is to be done with the legs' streams comes out as commands,
// and what the client gets as verdicts. cloudbus.ini(5), MODES, tells what the modes promise.

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "cloudbus/core/backlog.h"
#include "cloudbus/core/balance.h"
#include "cloudbus/core/byte_queue.h"
#include "cloudbus/core/codes.h"

namespace cloudbus {

enum class Mode : std::uint8_t {
  OneToOne,
  HalfDuplex,  // the first server that answers is the only one from then on
  FullDuplex,  // all answers are merged
  Publish,     // all answers are discarded
  Balance,     // one server for each client
};

struct FanoutLimits {
  std::uint32_t legs = 0;                       // how many servers a client is sent to; 0 is all of them
  std::uint32_t quorum = 1;                     // legs that are accepted before anything is sent
  std::uint64_t lag = std::uint64_t{16} << 20;  // bytes that a leg may be behind the fastest
};

using LegId = std::uint32_t;  // 0, 1, … in the order in which they were begun

//   opening --ACCEPT--> open --both directions have ended--> ended
//   opening, open --RESET, link lost, refused--> failed
//   opening, open --we ended it--> dropped
enum class LegState : std::uint8_t { Opening, Open, Ended, Failed, Dropped };

struct Leg {
  explicit Leg(ServerIndex its_server) : server(its_server) {}

  ServerIndex server;
  LegState state = LegState::Opening;
  StreamCode code = StreamCode::Cancelled;  // why it failed or was dropped
  bool takes = true;                        // it is to be sent the client's bytes, or its FIN
  bool answers = true;                      // its server may say more
  bool answered = false;                    // bytes of it went to the client
  std::uint64_t answered_turn = 0;          // when its first bytes came, while they are held
  std::uint64_t sent = 0;                   // bytes of the client
  ByteQueue held;                           // bytes toward the client that cannot go there yet
  std::size_t held_part = 0;                // of them, at the end: the begin of a frame

  bool is_living() const { return state == LegState::Opening || state == LegState::Open; }
};

class Fanout {
 public:
  // `order` has the servers by preference, the first `usable` of them believed to be within reach: the others are
  // tried only where the quorum needs them. The pool and the budget outlive this.
  Fanout(Mode mode, const FanoutLimits& limits, std::vector<ServerIndex> order, std::size_t usable, SlabPool& pool,
         Budget& budget);

  // What is to be done with the legs' streams, in this order. Look after every call.
  struct Command {
    enum class Kind : std::uint8_t { Open, Want, Finish, Reset };
    Kind kind;
    LegId leg;
    StreamCode code = StreamCode::Cancelled;  // of a Reset
  };
  std::optional<Command> next_command();

  const Leg& leg(LegId id) const { return legs_[id]; }
  std::size_t leg_count() const { return legs_.size(); }
  Mode mode() const { return mode_; }
  std::optional<LegId> winner() const { return winner_; }  // of the latch
  bool is_open() const { return open_; }                   // the quorum was reached

  // --- What the legs say ---

  void on_accepted(LegId id);
  // The stream is gone, or never was: it could not be opened.
  void on_failed(LegId id, StreamCode code);
  // The server's FIN, behind all of its bytes.
  void on_finished(LegId id);
  // The server reads no more.
  void on_stopped(LegId id, StreamCode code);
  // connect_timeout is over: legs that are not accepted are given up.
  void on_connect_timeout();

  enum class Verdict : std::uint8_t { Deliver, Hold, Discard };
  // Bytes of a server came. Of `size`, the last `part` belong to a frame that has not all arrived. Hold: the caller
  // gives them to hold(). Deliver: they go to the client, now.
  Verdict on_data(LegId id, std::size_t size, std::size_t part);
  void hold(LegId id, Bytes bytes);

  // Held bytes that may go to the client now. The caller takes them off with take_held().
  struct Ready {
    LegId leg;
    std::size_t bytes;
  };
  std::optional<Ready> ready() const;
  int gather_held(LegId id, iovec* out, int most) const { return legs_[id].held.gather(out, most); }
  void take_held(LegId id, std::size_t bytes);

  // --- What the client says ---

  // The client's bytes need not pass through the backlog: this leg is the only one that there is and will be.
  bool is_direct(LegId id) const;

  // How many bytes the leg may be sent out of the backlog now.
  std::uint64_t unsent(LegId id) const;
  // More bytes may be read from the client, for this leg.
  bool may_read(LegId id) const;
  iovec reserve(std::size_t bytes) { return backlog_.reserve(bytes); }
  // So many bytes were read.
  void commit(std::size_t bytes);
  Slice piece(LegId id) const { return backlog_.piece(legs_[id].sent); }
  void on_sent(LegId id, std::size_t bytes);
  // The client's FIN.
  void finish();
  // The client's side is over: what is left of the legs is reset.
  void abandon(StreamCode code);

  // --- What it means for the client ---

  enum class Answer : std::uint8_t {
    Coming,
    Finished,  // all answers are complete: FIN, once what is held was taken
    Broken,    // a reset, with code()
  };
  Answer answer() const;
  StreamCode code() const { return code_; }
  // No leg takes the client's bytes any more, though the client has more; with code().
  bool is_stopped() const;
  // Nothing is left to be sent to any leg, and nothing will come from one.
  bool is_over() const;

 private:
  bool begin_next();
  void reset(LegId id, StreamCode code);
  void fail(LegId id, StreamCode code);
  void look_for_end(LegId id);
  void look_at_quorum();
  void open();
  void latch(LegId id);
  void drop_laggards();
  void trim();
  void command(Command::Kind kind, LegId leg, StreamCode code = StreamCode::Cancelled);
  std::size_t count_living() const;

  Mode mode_;
  FanoutLimits limits_;
  std::vector<ServerIndex> order_;
  std::size_t usable_;
  std::size_t next_ = 0;  // in order_: the server to be tried next
  std::deque<Leg> legs_;
  Backlog backlog_;
  std::deque<Command> commands_;
  std::optional<LegId> winner_;
  std::size_t accepted_ = 0;        // legs, ever
  std::uint64_t answered_turn_ = 0;
  bool open_ = false;
  bool broken_ = false;
  bool finished_ = false;  // the client's FIN was read
  StreamCode code_ = StreamCode::Cancelled;
};

}  // namespace cloudbus
