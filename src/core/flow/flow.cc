// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/flow/flow.h"

#include <algorithm>

namespace cloudbus {

// --- From the socket to the stream -------------------------------------------------------------------------------

Flow::Action Flow::on_read_end() {
  if (!reads()) return Action::None;
  if (reading_ == Reading::Broken) return abort(near_reset());
  reading_ = Reading::Ended;
  last_ = near_;
  if (first_end_ == FirstEnd::None) first_end_ = FirstEnd::Near;
  return Action::FinishStream;
}

Flow::Action Flow::on_read_failed() { return abort(near_reset()); }

Flow::Action Flow::on_stop(StreamCode code) {
  if (!reads()) return Action::None;
  if (reading_ == Reading::Broken) return abort(near_reset());  // neither direction has anywhere to go
  reading_ = Reading::Stopped;
  code_ = code;
  return Action::StopSocket;
}

// --- From the stream to the socket -------------------------------------------------------------------------------

void Flow::put_prefix(Bytes prefix, Budget& budget) {
  pending_.push(prefix, budget);
  prefix_ += static_cast<std::uint32_t>(prefix.size());
}

void Flow::keep(const iovec* parts, int count, std::size_t skip, Budget& budget) {
  for (int i = 0; i < count; i++) {
    std::size_t taken = std::min(skip, parts[i].iov_len);
    skip -= taken;
    pending_.push(Bytes(static_cast<const std::byte*>(parts[i].iov_base), parts[i].iov_len).subspan(taken), budget);
  }
}

std::size_t Flow::without_prefix(std::size_t bytes) {
  std::size_t part = std::min<std::size_t>(bytes, prefix_);
  prefix_ -= static_cast<std::uint32_t>(part);
  return bytes - part;
}

std::size_t Flow::drop_pending() { return on_written(pending_.size()); }

Flow::Failure Flow::on_write_failed(bool takes_no_more) {
  if (writing_ == Writing::Closed) return {0, Action::None};
  std::size_t credit = drop_pending();
  if (writing_ == Writing::Resetting) return {credit, close_with(Action::Reset)};
  if (!reads()) return {credit, abort(near_reset())};
  writing_ = Writing::Discarding;
  if (takes_no_more) {
    code_ = near_reset();
    return {credit, Action::StopStream};
  }
  reading_ = Reading::Broken;  // what the socket still holds was sent before it broke, and is read first
  return {credit, Action::Want};
}

void Flow::on_finish() {
  fin_follows_ = false;
  last_ = far();
  if (first_end_ == FirstEnd::None) first_end_ = FirstEnd::Far;
  if (writing_ == Writing::Open) writing_ = Writing::Finishing;
}

void Flow::on_reset(StreamCode code) {
  if (writing_ == Writing::Closed) return;
  code_ = code;
  if (reading_ == Reading::Open) reading_ = Reading::Stopped;
  writing_ = Writing::Resetting;
}

// --- Ends --------------------------------------------------------------------------------------------------------

Flow::Action Flow::next(const Facts& facts) {
  if (!is_ending()) return Action::None;
  if (writing_ == Writing::Resetting) {
    bool is_delivered = pending_.empty() && (facts.is_delivered || reading_ == Reading::Broken);
    return is_delivered || !facts.is_open ? close_with(Action::Reset) : Action::None;
  }
  if (!facts.is_open) return Action::None;
  if (writing_ == Writing::Finishing) {
    if (!pending_.empty()) return Action::None;
    writing_ = Writing::Finished;
    bool closing_says_it = reading_ == Reading::Ended && facts.is_stream_over;
    if (!closing_says_it) return Action::FinishSocket;
  }
  if (reads() || !facts.is_stream_over) return Action::None;
  if (!was_cut_short()) return close_with(Action::Close);
  writing_ = Writing::Resetting;
  return Action::AwaitDelivery;
}

Flow::Action Flow::abort(StreamCode code) {
  if (writing_ == Writing::Closed) return Action::None;
  code_ = code;
  return close_with(Action::Abort);
}

void Flow::close() {
  drop_pending();
  writing_ = Writing::Closed;
}

Flow::Action Flow::close_with(Action action) {
  close();
  return action;
}

}  // namespace cloudbus
