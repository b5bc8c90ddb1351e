// SPDX-License-Identifier: Apache-2.0
#pragma once

// What everything on one thread works with: its loop, timers, buffers and random numbers, and the configuration that
// is in force. Nothing here knows what a link or a conversation is.

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "cloudbus/app/config/config.h"
#include "cloudbus/app/roster/descriptor_share.h"
#include "cloudbus/core/base/uuid.h"
#include "cloudbus/core/flow/window.h"
#include "cloudbus/core/session/queue_limit.h"
#include "cloudbus/core/session/slab.h"
#include "cloudbus/net/loop.h"
#include "cloudbus/net/timers.h"

namespace cloudbus {

class Sessions;

// What the workers of a process share.
struct Shared {
  const Uuid boot_id;
  Sessions& sessions;
  SmallTraffic small_traffic{};
  Descriptors descriptors{};
};

class Context {
 public:
  // `index`: which of the process's workers it is, from 0.
  Context(std::shared_ptr<const Config> config, Shared& shared, std::size_t index);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const Config& config() const { return *config_; }
  Role role_kind() const { return config_->role; }
  std::size_t index() const { return index_; }
  Shared& shared() { return shared_; }

  Loop& loop() { return loop_; }
  Timers& timers() { return timers_; }
  Time now() { return loop_.now(); }

  SlabPool& slabs() { return slabs_; }
  Budget& budget() { return budget_; }
  // For what is read and handed on within one call.
  MutableBytes read_buffer() { return read_buffer_; }

  // Never the same twice on this thread.
  std::uint64_t new_id() { return ++last_id_; }
  double random() { return std::uniform_real_distribution<double>(0, 1)(random_); }
  std::uint64_t random_bits() { return random_(); }
  Uuid new_conversation();

 protected:
  ~Context() = default;
  void set_config(std::shared_ptr<const Config> config);

 private:
  static constexpr std::size_t kReadBuffer = 512 * 1024;

  std::shared_ptr<const Config> config_;
  Shared& shared_;
  std::size_t index_;
  Loop loop_;
  Timers timers_;
  SlabPool slabs_;
  Budget budget_;
  std::vector<std::byte> read_buffer_;
  std::mt19937_64 random_;
  std::uint64_t last_id_ = 0;
};

}  // namespace cloudbus
