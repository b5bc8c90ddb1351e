// SPDX-License-Identifier: Apache-2.0
#pragma once

// What became of the links of a worker, counted since its start, and told in the log.

#include <cstdint>

#include "cloudbus/net/timers.h"

namespace cloudbus {

class LinkTotals {
 public:
  static constexpr Duration kEvery = std::chrono::minutes(1);  // that is how often the log has them, while they change

  LinkTotals(Timers& timers, Timers::Key key) : timers_(timers), key_(key) {}

  void on_lost(Time now);
  void on_resumed(std::uint64_t streams, std::uint64_t replayed, Time now);
  void on_given_up(Time now);
  void on_streams_lost(std::uint64_t streams, Time now);

  Timers::Key key() const { return key_; }
  // Writes a line, unless nothing has changed since the last one. At a deadline of key(), and at the end.
  void log();

 private:
  void log_soon(Time now);

  Timers& timers_;
  Timers::Key key_;
  Time armed_ = Time::max();
  std::uint64_t lost_ = 0;             // links
  std::uint64_t resumed_ = 0;          // sessions, each time
  std::uint64_t given_up_ = 0;         // sessions that had waited for another link
  std::uint64_t streams_carried_ = 0;  // those of the sessions that were resumed
  std::uint64_t streams_lost_ = 0;     // that were reset because of their link
  std::uint64_t replayed_ = 0;         // bytes
};

}  // namespace cloudbus
