// SPDX-License-Identifier: Apache-2.0
#pragma once

// What became of the links of a worker, counted since its start, and told in the log.

#include <cstdint>

#include "cloudbus/app/roster/context.h"

namespace cloudbus {

class LinkTotals {
 public:
  static constexpr Duration kEvery = std::chrono::minutes(1);  // that is how often the log has them, while they change

  explicit LinkTotals(Context& context) : context_(context) {}

  void on_lost();
  void on_resumed(std::uint64_t streams, std::uint64_t replayed);
  void on_given_up();
  void on_streams_lost(std::uint64_t streams);
  // Somebody connected and closed without a byte. Not worth a line: whoever probes does it for ever.
  void on_probe() { probes_++; }

  // Writes a line, unless nothing has changed since the last one.
  void log();

 private:
  void log_soon();
  void write_line();

  Context& context_;
  Timer timer_{context_.timers(), [this] { write_line(); }};  // set while the log lacks a change
  std::uint64_t lost_ = 0;                                    // links
  std::uint64_t resumed_ = 0;                                 // sessions, each time
  std::uint64_t given_up_ = 0;                                // sessions with streams that had waited for another link
  std::uint64_t streams_carried_ = 0;                         // those of the sessions that were resumed
  std::uint64_t streams_lost_ = 0;                            // that were reset because of their link
  std::uint64_t replayed_ = 0;                                // bytes
  std::uint64_t probes_ = 0;
};

}  // namespace cloudbus
