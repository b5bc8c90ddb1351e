// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whose turn it is to write: doc/protocol.md, section 8.
//
// Turns are deficit round robin where every frame is cut to the bytes that are left, so that no deficit remains to be
// carried. A stream that was quiet goes before those of its priority that write all the time, once, with a small turn.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "cloudbus/core/frame.h"

namespace cloudbus {

class Scheduler {
 public:
  static constexpr std::size_t kFirstTurn = 32 * 1024;  // bytes, for a stream that was quiet
  static constexpr std::size_t kTurn = 128 * 1024;      // bytes, for one that writes all the time

  static constexpr int kQuietTurns = 32;   // in a row; then a busy one has a turn, and none starves
  static constexpr int kUrgentTurns = 15;  // in a row of the first priority; then one of another one has a turn

  // -128 is first, 127 last.
  using Priority = std::int8_t;

  struct Turn {
    StreamId stream;
    std::size_t bytes;  // at most so many while others wait
  };

  // A stream that has something to write after a pause.
  void start(StreamId stream, Priority priority = 0) { add(class_of(priority).quiet, stream); }

  // A stream that used its turn and has more.
  void go_on(StreamId stream, Priority priority = 0) { add(class_of(priority).busy, stream); }

  bool empty() const { return waiting_ == 0; }

  // The next turn. A stream stands in the queue at most once: the caller sees to that, and skips those that have gone.
  std::optional<Turn> next();

 private:
  struct Class {
    Priority priority;
    std::deque<StreamId> quiet{}, busy{};
    int quiet_turns = 0;          // in a row
    std::uint64_t last_turn = 0;  // by the count of all turns

    bool empty() const { return quiet.empty() && busy.empty(); }
  };

  Class& class_of(Priority priority);
  Class* choose();
  void add(std::deque<StreamId>& queue, StreamId stream) {
    queue.push_back(stream);
    waiting_++;
  }

  std::vector<Class> classes_;  // the first priority first; those that were ever used
  std::size_t waiting_ = 0;     // in all of them
  std::uint64_t turns_ = 0;
  int urgent_turns_ = 0;  // in a row, while others waited
};

}  // namespace cloudbus
