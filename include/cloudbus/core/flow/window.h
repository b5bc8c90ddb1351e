// SPDX-License-Identifier: Apache-2.0
#pragma once

// Receive windows that size themselves, within budgets: doc/protocol.md, section 4.

#include <cstdint>
#include <optional>

#include "cloudbus/core/base/time.h"
#include "cloudbus/core/wire/frame.h"

namespace cloudbus {

// An amount of memory that windows grow in and that buffered bytes are counted against. A budget may be part of another
// one, or the share of one of those who have it in common: core/policy/share.h.
class Budget {
 public:
  explicit Budget(std::uint64_t bytes, Budget* whole = nullptr) : limit_(bytes), whole_(whole) {}
  // A share is pressed and exhausted only where it holds more than the others leave it.
  struct Share {};
  Budget(Share, Budget& whole) : limit_(whole.limit_), whole_(&whole), is_share_(true) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  // For window growth: all of `bytes`, or nothing.
  bool reserve(std::uint64_t bytes);
  void release(std::uint64_t bytes);

  // For bytes that are buffered now.
  void hold(std::uint64_t bytes);
  void drop(std::uint64_t bytes);

  // For bytes that are kept until a peer acknowledges them. They have a part of the memory for themselves, so that
  // peers that acknowledge nothing take none from the others.
  static constexpr std::uint64_t kKeptPart = 4;
  void keep(std::uint64_t bytes);
  void unkeep(std::uint64_t bytes);
  bool keeps_much() const { return kept_ > limit_ / kKeptPart || (whole_ && whole_->keeps_much()); }
  std::uint64_t kept() const { return kept_; }

  std::uint64_t limit() const { return limit_; }
  // What was reserved stays; nothing more is while there is more than the new limit.
  void set_limit(std::uint64_t bytes) { limit_ = bytes; }
  std::uint64_t buffered() const { return buffered_; }
  bool pressed() const;
  bool exhausted() const;

 private:
  std::uint64_t limit_;
  Budget* whole_;
  std::uint64_t reserved_ = 0, buffered_ = 0, kept_ = 0;
  bool is_share_ = false;
};

// The credit that one stream has been given, and the window from which it is given.
class ReceiveWindow {
 public:
  static constexpr std::uint32_t kFloor = 16 * 1024;  // bytes, here and below
  // Some round trips of a fast link. The link's own congestion control has to find its limit, not this one's: BBR goes
  // on as it does at its start, and overruns the way, while it is short of bytes.
  static constexpr std::uint32_t kMost = 32 * 1024 * 1024;
  static constexpr std::uint32_t kMostPerGrant = 1024 * 1024;
  static constexpr Duration kIdle = std::chrono::seconds(10);  // a window falls back after this long without data

  explicit ReceiveWindow(std::uint32_t initial) : limit_(initial), initial_(initial), window_(initial) {}

  std::uint64_t received() const { return received_; }
  std::uint64_t consumed() const { return consumed_; }
  std::uint64_t limit() const { return limit_; }
  std::uint32_t window() const { return window_; }

  // Whether so many more bytes are within the credit.
  bool admits(std::uint64_t bytes) const { return bytes <= limit_ - received_; }
  void receive(std::uint64_t bytes) { received_ += bytes; }

  // `bytes` were handed on; returns the new limit when it is time to grant it. `round_trip` 0 is unknown.
  // `is_pressed`: only little credit is given until there is more memory.
  std::optional<std::uint64_t> consume(std::uint64_t bytes, Time now, Duration round_trip, Budget& budget,
                                       bool is_pressed);

  // Gives back what growth reserved.
  void close(Budget& budget);

 private:
  void resize(std::uint64_t bytes, Time now, Duration round_trip, Budget& budget);
  void start_round();

  std::uint64_t received_ = 0, consumed_ = 0, limit_;
  std::uint32_t initial_, window_;
  // Of the round, as yet. If these overflowed, growth would only come later.
  std::uint32_t round_bytes_ = 0, round_us_ = 0;
  Time last_{};
};

}  // namespace cloudbus
