// SPDX-License-Identifier: Apache-2.0
#pragma once

// Bytes that a socket did not take yet. A pointer while it is empty, as most of them always are; counts what it holds
// against a budget.

#include <sys/uio.h>

#include <cstddef>
#include <memory>

#include "cloudbus/core/base/bytes.h"
#include "cloudbus/core/flow/window.h"

namespace cloudbus {

class ByteQueue {
 public:
  ByteQueue();
  ByteQueue(const ByteQueue&) = delete;
  ByteQueue& operator=(const ByteQueue&) = delete;
  ~ByteQueue();

  bool empty() const { return !contents_; }
  std::size_t size() const;

  // Copies `bytes` to the end. All calls on one queue name the same budget.
  void push(Bytes bytes, Budget& budget);

  // Fills `out` with the first bytes; returns how many entries.
  int gather(iovec* out, int most) const;

  // Forgets the first `bytes`.
  void pop(std::size_t bytes);

 private:
  struct Chunk;
  struct Contents;

  std::unique_ptr<Contents> contents_;  // never without a byte
};

}  // namespace cloudbus
