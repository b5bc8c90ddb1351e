// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/roster/link_totals.h"

#include "cloudbus/app/log/log.h"

namespace cloudbus {

void LinkTotals::on_lost(Time now) {
  lost_++;
  log_soon(now);
}

void LinkTotals::on_resumed(std::uint64_t streams, std::uint64_t replayed, Time now) {
  resumed_++;
  streams_carried_ += streams;
  replayed_ += replayed;
  log_soon(now);
}

void LinkTotals::on_given_up(Time now) {
  given_up_++;
  log_soon(now);
}

void LinkTotals::on_streams_lost(std::uint64_t streams, Time now) {
  if (streams == 0) return;
  streams_lost_ += streams;
  log_soon(now);
}

void LinkTotals::log_soon(Time now) {
  if (armed_ == Time::max()) timers_.set(key_, now + kEvery, armed_);
}

void LinkTotals::log() {
  if (armed_ == Time::max()) return;
  timers_.clear(key_, armed_);
  log_line(LogLevel::Info, "link", "totals",
           {{"lost", lost_},
            {"resumed", resumed_},
            {"given_up", given_up_},
            {"streams_carried", streams_carried_},
            {"streams_lost", streams_lost_},
            {"replayed", replayed_}});
}

}  // namespace cloudbus
