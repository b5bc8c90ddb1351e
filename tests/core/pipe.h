// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <utility>
#include <vector>

#include "cloudbus/core/base/bytes.h"
#include "cloudbus/core/base/time.h"

namespace cloudbus {

// One direction of a link: bounded, late, and cut into other pieces than it was written in.
struct Pipe {
  std::vector<std::byte> bytes;
  std::size_t head = 0;
  std::deque<std::pair<Time, std::size_t>> arrivals;  // when the next so many bytes arrive
  std::size_t capacity = 0;
  Duration delay{};
  bool ended = false;     // no more will be written
  bool swallows = false;  // nothing arrives any more

  std::size_t size() const { return bytes.size() - head; }
  std::size_t space() const { return capacity - std::min(capacity, size()); }
  Time next_arrival() const { return arrivals.empty() || swallows ? Time::max() : arrivals.front().first; }

  void push(Bytes piece, Time now) {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
    arrivals.emplace_back(now + delay, piece.size());
  }
  // At most `most` of the bytes that have arrived.
  std::vector<std::byte> pop(std::size_t most, Time now) {
    std::size_t taken = 0;
    while (!arrivals.empty() && taken < most && next_arrival() <= now) {
      std::size_t part = std::min(most - taken, arrivals.front().second);
      taken += part;
      arrivals.front().second -= part;
      if (arrivals.front().second == 0) arrivals.pop_front();
    }
    auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(head);
    std::vector<std::byte> out(begin, begin + static_cast<std::ptrdiff_t>(taken));
    head += taken;
    if (head == bytes.size() || head > 1024 * 1024) {
      bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(head));
      head = 0;
    }
    return out;
  }
  void discard() {
    bytes.clear();
    head = 0;
    arrivals.clear();
  }
};

}  // namespace cloudbus
