// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whose turn it is to write: doc/protocol.md, section 8.
//
// Streams of one priority share alike, by bytes: the one that has sent least has the turn (start-time fair queueing:
// Goyal, Vin and Cheng, 1996). One that has sent less than the others lately goes before them, with a small turn.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "cloudbus/core/wire/frame.h"

namespace cloudbus {

class Scheduler {
 public:
  static constexpr std::size_t kSparseQuantum =
      32 * 1024;                                       // bytes, for a sparse stream: one that has sent little lately
  static constexpr std::size_t kQuantum = 128 * 1024;  // bytes, for one that writes all the time

  static constexpr int kMostSparse = 32;  // in a row; then a busy one has a turn, and none starves
  static constexpr int kMostUrgent = 15;  // in a row of the first priority; then one of another one has a turn

  // What is known of a stream, kept by the stream.
  struct Share {
    std::uint64_t position = 0;  // bytes sent, and those that it let pass while it was idle
    std::int8_t priority = 0;    // -128 is first, 127 last
  };

  struct Quantum {
    StreamId stream;
    std::size_t bytes;  // at most so many while others wait
  };

  // A stream that has something to write after a pause.
  void start(StreamId stream, Share& share);
  // A stream that used its turn and has more.
  void go_on(StreamId stream, const Share& share);

  bool empty() const { return waiting_ == 0; }

  // The next turn. A stream stands in the queue at most once: the caller sees to that, skips those that have gone, and
  // adds what was sent to the stream's position.
  std::optional<Quantum> next();

 private:
  struct Waiting {
    std::uint64_t position;
    std::uint64_t order;  // of coming, where positions are the same
    StreamId stream;

    bool operator>(const Waiting& other) const {
      return position != other.position ? position > other.position : order > other.order;
    }
  };

  struct Class {
    std::int8_t priority;
    std::deque<StreamId> sparse{};
    std::vector<Waiting> busy{};    // a heap, the least position on top
    std::uint64_t clock = 0;        // the position of the busy one that had the last turn
    int sparse_in_row = 0;          // quanta
    std::uint64_t last_served = 0;  // by the count of all turns

    bool empty() const { return sparse.empty() && busy.empty(); }
  };

  Class& class_of(std::int8_t priority);
  Class* choose();
  void push_busy(Class& its, StreamId stream, std::uint64_t position);
  static StreamId pop_busy(Class& its);

  std::vector<Class> classes_;  // the first priority first; those that were ever used
  std::size_t waiting_ = 0;     // in all of them
  std::uint64_t order_ = 0, served_ = 0;
  int urgent_in_row_ = 0;  // in a row, while others waited
};

}  // namespace cloudbus
