// SPDX-License-Identifier: Apache-2.0
#pragma once

// The bytes of one client that several legs send: read once and kept once, until the last leg has sent them.

#include <sys/uio.h>

#include <cstdint>
#include <deque>

#include "cloudbus/core/flow/window.h"
#include "cloudbus/core/session/output.h"

namespace cloudbus {

class Backlog {
 public:
  // The kept bytes count against the budget.
  Backlog(SlabPool& pool, Budget& budget) : pool_(pool), budget_(budget) {}
  Backlog(const Backlog&) = delete;
  Backlog& operator=(const Backlog&) = delete;
  ~Backlog();

  // Offsets in the client's stream: the kept bytes are [begin, end).
  std::uint64_t begin() const { return begin_; }
  std::uint64_t end() const { return end_; }
  bool empty() const { return begin_ == end_; }

  // The place for the next `bytes`, or for fewer. Valid until the next call.
  iovec reserve(std::size_t bytes);
  // The first `bytes` of the last reserve() belong to the stream; 0 if nothing came.
  void commit(std::size_t bytes);

  // The contiguous kept bytes from `offset` on; `offset` is below end().
  Slice piece(std::uint64_t offset) const;

  // Forgets the bytes before `offset`.
  void trim(std::uint64_t offset);

 private:
  struct Kept {
    std::uint64_t begin;  // in the client's stream
    Slice slice;
  };

  SlabPool& pool_;
  Budget& budget_;
  SlabRef current_;
  std::deque<Kept> kept_;
  std::uint64_t begin_ = 0, end_ = 0;
};

}  // namespace cloudbus
