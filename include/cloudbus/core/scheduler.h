// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whose turn it is to write: doc/protocol.md, section 8.
//
// Turns are deficit round robin where every frame is cut to the bytes that are left, so that no deficit remains to be
// carried. A stream that was quiet goes before those that write all the time, once, with a small turn.

#include <cstddef>
#include <deque>
#include <optional>

#include "cloudbus/core/frame.h"

namespace cloudbus {

class Scheduler {
 public:
  static constexpr std::size_t kFirstTurn = 32 * 1024;  // bytes, for a stream that was quiet
  static constexpr std::size_t kTurn = 128 * 1024;      // bytes, for one that writes all the time

  static constexpr int kQuietTurns = 32;  // in a row; then a busy one has a turn, and none starves

  struct Turn {
    StreamId stream;
    std::size_t bytes;  // at most so many while others wait
  };

  // A stream that has something to write after a pause.
  void start(StreamId stream) { quiet_.push_back(stream); }

  // A stream that used its turn and has more.
  void go_on(StreamId stream) { busy_.push_back(stream); }

  bool empty() const { return quiet_.empty() && busy_.empty(); }

  // The next turn. A stream stands in the queue at most once: the caller sees to that, and skips those that have gone.
  std::optional<Turn> next();

 private:
  std::deque<StreamId> quiet_, busy_;
  int quiet_turns_ = 0;  // in a row
};

}  // namespace cloudbus
