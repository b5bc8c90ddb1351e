// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/log/log_buffer.h"

#include <utility>

#include "cloudbus/core/policy/share.h"

namespace cloudbus {
namespace {

constexpr std::size_t kFewBytes = LogBuffer::kMost / 16;  // until then nobody asks whose they are

}  // namespace

bool LogBuffer::add(std::string_view subject, std::string_view line) {
  const std::size_t waiting = bytes_.size() - written_;
  if (waiting + line.size() > kMost) return lost_++, false;
  if (waiting > kFewBytes) {
    std::size_t& held = held_[std::string(subject)];
    if (!may_hold_more(held, waiting, kMost)) return lost_++, false;
    held += line.size();
  }
  if (written_ > kMost) bytes_.erase(0, std::exchange(written_, 0));
  bytes_ += line;
  return true;
}

void LogBuffer::on_written(std::size_t bytes) {
  written_ += bytes;
  if (is_empty()) drop_all();
}

void LogBuffer::drop_all() {
  bytes_.clear();
  written_ = 0;
  held_.clear();
}

std::uint64_t LogBuffer::take_lost() { return std::exchange(lost_, 0); }

}  // namespace cloudbus
