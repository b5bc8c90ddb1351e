// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/flow/window.h"

#include <algorithm>
#include <utility>

#include "cloudbus/core/policy/share.h"
#include "cloudbus/core/wire/hello.h"

namespace cloudbus {
namespace {

constexpr std::uint64_t kReserves = 16;  // who holds less than one in so many of all bytes is never refused

}  // namespace

bool Budget::reserve(std::uint64_t bytes) {
  if (reserved_ > limit_ || bytes > limit_ - reserved_) return false;
  if (whole_ && !whole_->reserve(bytes)) return false;
  reserved_ += bytes;
  return true;
}

void Budget::release(std::uint64_t bytes) {
  reserved_ -= bytes;
  if (whole_) whole_->release(bytes);
}

void Budget::hold(std::uint64_t bytes) {
  buffered_ += bytes;
  if (whole_) whole_->hold(bytes);
}

void Budget::drop(std::uint64_t bytes) {
  buffered_ -= bytes;
  if (whole_) whole_->drop(bytes);
}

bool Budget::pressed() const {
  if (is_share_) return whole_->pressed() && !may_hold_more(buffered_, whole_->buffered_, whole_->limit_);
  return buffered_ > limit_ / 2 || (whole_ && whole_->pressed());
}

bool Budget::exhausted() const {
  if (is_share_) {
    bool holds_much = buffered_ > whole_->limit_ / kReserves;
    return holds_much && !may_hold_more(buffered_, whole_->buffered_, whole_->limit_, kReserves - 1);
  }
  return buffered_ > limit_ || (whole_ && whole_->exhausted());
}

void Budget::keep(std::uint64_t bytes) {
  kept_ += bytes;
  if (whole_) whole_->keep(bytes);
}

void Budget::unkeep(std::uint64_t bytes) {
  kept_ -= bytes;
  if (whole_) whole_->unkeep(bytes);
}

std::optional<std::uint64_t> ReceiveWindow::consume(std::uint64_t bytes, Time now, Duration round_trip, Budget& budget,
                                                    bool is_pressed) {
  consumed_ += bytes;
  resize(bytes, now, round_trip, budget);
  std::uint64_t window = is_pressed ? std::min(window_, kFloor) : window_;
  std::uint64_t limit = consumed_ + window;
  if (limit < limit_ + std::min<std::uint64_t>(window / 2, kMostPerGrant)) return std::nullopt;
  limit_ = limit;
  return limit_;
}

void ReceiveWindow::resize(std::uint64_t bytes, Time now, Duration round_trip, Budget& budget) {
  Duration pause = now - std::exchange(last_, now);
  bool was_idle = pause > kIdle;
  if (was_idle) {
    budget.release(window_ - initial_);
    window_ = initial_;
  }
  if (was_idle || Duration(round_us_) + pause > 2 * round_trip) return start_round();
  round_us_ += static_cast<std::uint32_t>(pause.count());
  round_bytes_ += static_cast<std::uint32_t>(bytes);
  if (round_bytes_ < window_ / 2 || window_ >= kMost) return;
  std::uint32_t doubled = std::min(window_ * 2, kMost);
  if (!budget.reserve(doubled - window_)) return;
  window_ = doubled;
  start_round();
}

void ReceiveWindow::start_round() { round_bytes_ = round_us_ = 0; }

void ReceiveWindow::close(Budget& budget) {
  budget.release(window_ - initial_);
  window_ = initial_;
}

}  // namespace cloudbus
