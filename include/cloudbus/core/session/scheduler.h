// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which stream writes next, and how much: doc/protocol.md, section 8.
//
// Streams of one priority share evenly, by bytes: the stream that has sent least gets the next quantum (start-time fair
// queueing: Goyal, Vin and Cheng, 1996). A sparse stream, one that has sent less than the others lately, goes before
// them with a small quantum (RFC 8290 has the term).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "cloudbus/core/wire/frame.h"

namespace cloudbus {

class Scheduler {
 public:
  static constexpr std::size_t kSparseQuantum = 32 * 1024;  // bytes, for a sparse stream
  static constexpr std::size_t kQuantum = 128 * 1024;       // bytes, for a busy stream

  static constexpr int kMostSparse = 32;  // sparse quanta in a row; then a busy stream gets one, so that none starves
  static constexpr int kMostUrgent = 15;  // quanta of the first priority in a row; then another priority gets one

  // What the scheduler knows of a stream; the stream keeps it.
  struct Share {
    std::uint64_t position = 0;  // bytes sent; raised to the clock after an idle time, which earns nothing
    std::int8_t priority = 0;    // -128 is first, 127 last
  };

  struct Quantum {
    StreamId stream;
    std::size_t bytes;  // at most, while others wait
  };

  // The stream has something to write after a pause.
  void start(StreamId stream, Share& share);
  // The stream used its quantum and has more.
  void go_on(StreamId stream, const Share& share);

  bool empty() const { return waiting_ == 0; }

  // The next quantum. The caller queues a stream at most once, skips streams that are gone, and adds the bytes sent to
  // the stream's position.
  std::optional<Quantum> next();

 private:
  struct Waiting {
    std::uint64_t position;
    std::uint64_t order;  // of arrival, for equal positions
    StreamId stream;

    bool operator>(const Waiting& other) const {
      return position != other.position ? position > other.position : order > other.order;
    }
  };

  // Streams in the order in which they came. A class may be idle for ever, and an idle std::deque holds 576 bytes.
  class Queue {
   public:
    bool empty() const { return first_ == streams_.size(); }
    void push(StreamId stream) { streams_.push_back(stream); }
    StreamId pop() {
      StreamId stream = streams_[first_++];
      if (first_ * 2 >= streams_.size()) {
        streams_.erase(streams_.begin(), streams_.begin() + static_cast<std::ptrdiff_t>(first_));
        first_ = 0;
      }
      return stream;
    }

   private:
    std::vector<StreamId> streams_;
    std::size_t first_ = 0;
  };

  struct Class {
    std::int8_t priority;
    Queue sparse{};
    std::vector<Waiting> busy{};    // a heap, the least position on top
    std::uint64_t clock = 0;        // the greatest position of a busy stream that had a quantum
    int sparse_in_row = 0;          // quanta
    std::uint64_t last_served = 0;  // in the count of all quanta

    bool empty() const { return sparse.empty() && busy.empty(); }
  };

  Class& class_of(std::int8_t priority);
  Class* choose();
  void push_busy(Class& its, StreamId stream, std::uint64_t position);
  static StreamId pop_busy(Class& its);

  std::vector<Class> classes_;  // of all priorities that were ever used, the first in front
  std::size_t waiting_ = 0;     // streams in all classes
  std::uint64_t order_ = 0, served_ = 0;
  int urgent_in_row_ = 0;  // quanta of the first priority while others waited
};

}  // namespace cloudbus
