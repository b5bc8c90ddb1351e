// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/window.h"

#include <algorithm>

#include "cloudbus/core/hello.h"

namespace cloudbus {

bool Budget::reserve(std::uint64_t bytes) {
  if (bytes > limit_ - reserved_) return false;
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

void Budget::keep(std::uint64_t bytes) {
  kept_ += bytes;
  if (whole_) whole_->keep(bytes);
}

void Budget::unkeep(std::uint64_t bytes) {
  kept_ -= bytes;
  if (whole_) whole_->unkeep(bytes);
}

std::optional<std::uint64_t> ReceiveWindow::consume(std::uint64_t bytes, Time now, Duration round_trip,
                                                    Budget& budget) {
  consumed_ += bytes;
  resize(now, round_trip, budget);
  std::uint64_t window = budget.pressed() ? std::min(window_, kFloor) : window_;
  std::uint64_t limit = consumed_ + window;
  if (limit < limit_ + std::min<std::uint64_t>(window / 2, kMostPerGrant)) return std::nullopt;
  limit_ = limit;
  return limit_;
}

void ReceiveWindow::resize(Time now, Duration round_trip, Budget& budget) {
  bool was_idle = now - last_ > kIdle;
  last_ = now;
  if (was_idle) {
    budget.release(window_ - initial_);
    window_ = initial_;
  }
  if (was_idle || now - round_start_ > 2 * round_trip) {
    round_start_ = now;
    round_bytes_ = consumed_;
    return;
  }
  if (consumed_ - round_bytes_ < window_ / 2 || window_ >= kMost) return;
  std::uint32_t doubled = std::min(window_ * 2, kMost);
  if (!budget.reserve(doubled - window_)) return;
  window_ = doubled;
  round_start_ = now;
  round_bytes_ = consumed_;
}

void ReceiveWindow::close(Budget& budget) {
  budget.release(window_ - initial_);
  window_ = initial_;
}

}  // namespace cloudbus
