// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/fanout/backlog.h"

#include <algorithm>

namespace cloudbus {
namespace {

constexpr std::size_t kWorthwhile = 128 * 1024;  // bytes of room in a large slab for which it is used up
constexpr std::size_t kWorthwhileSmall = 4 * 1024;

}  // namespace

Backlog::~Backlog() { budget_.drop(end_ - begin_); }

iovec Backlog::reserve(std::size_t bytes) {
  bool is_small = bytes <= Slab::kSmallCapacity;
  std::size_t least = std::min(bytes, is_small ? kWorthwhileSmall : kWorthwhile);
  if (!current_ || current_->room() < least) current_ = is_small ? pool_.take_small() : pool_.take();
  return {current_->data() + current_->used, std::min(bytes, current_->room())};
}

void Backlog::commit(std::size_t bytes) {
  if (empty() && bytes == 0) current_.reset();
  if (bytes == 0) return;
  if (!kept_.empty() && kept_.back().slice.slab == current_)
    kept_.back().slice.size += bytes;  // it ended where these begin: a slab is filled in order
  else
    kept_.push_back({end_, {current_, current_->used, bytes}});
  current_->used += bytes;
  end_ += bytes;
  budget_.hold(bytes);
}

Slice Backlog::piece(std::uint64_t offset) const {
  auto after = std::ranges::upper_bound(kept_, offset, {}, &Kept::begin);
  const Kept& kept = *std::prev(after);
  auto skip = static_cast<std::size_t>(offset - kept.begin);
  return {kept.slice.slab, kept.slice.offset + skip, kept.slice.size - skip};
}

void Backlog::trim(std::uint64_t offset) {
  if (offset <= begin_) return;
  budget_.drop(offset - begin_);
  begin_ = offset;
  while (!kept_.empty() && kept_.front().begin + kept_.front().slice.size <= offset) kept_.pop_front();
  if (kept_.empty()) current_.reset();
}

}  // namespace cloudbus
