// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/link/link_totals.h"

#include "cloudbus/app/log/log.h"

namespace cloudbus {

void LinkTotals::on_lost() {
  lost_++;
  log_soon();
}

void LinkTotals::on_resumed(std::uint64_t streams, std::uint64_t replayed) {
  resumed_++;
  streams_carried_ += streams;
  replayed_ += replayed;
  log_soon();
}

void LinkTotals::on_given_up() {
  given_up_++;
  log_soon();
}

void LinkTotals::on_streams_lost(std::uint64_t streams) {
  if (streams == 0) return;
  streams_lost_ += streams;
  log_soon();
}

void LinkTotals::log_soon() {
  if (!timer_.is_set()) timer_.set(context_.now() + kEvery);
}

void LinkTotals::log() {
  if (!timer_.is_set()) return;
  timer_.clear();
  write_line();
}

void LinkTotals::write_line() {
  log_line(LogLevel::Info, "link", "totals",
           {{"lost", lost_},
            {"resumed", resumed_},
            {"given_up", given_up_},
            {"streams_carried", streams_carried_},
            {"streams_lost", streams_lost_},
            {"replayed", replayed_},
            {"probes", probes_}});
}

}  // namespace cloudbus
