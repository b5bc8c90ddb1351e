// SPDX-License-Identifier: Apache-2.0
#pragma once

// The servers inside a segment: builtin:echo and builtin:discard. Each conversation is the other end of a socket pair,
// so that a relay meets nothing unusual.

#include <cstddef>
#include <functional>
#include <vector>

#include "cloudbus/net/address.h"
#include "cloudbus/net/connection.h"

namespace cloudbus {

class Builtin final : private ReadinessOwner {
 public:
  // `on_done` is called once, when the conversation has ended; the owner destroys this later.
  Builtin(Loop& loop, Endpoint::Kind kind, int fd, std::function<void()> on_done);

 private:
  void on_ready(Ready ready) noexcept override;
  bool write_kept();
  void read_some();
  void close();

  Endpoint::Kind kind_;
  Connection connection_;
  std::function<void()> on_done_;
  std::vector<std::byte> kept_;  // read, not yet echoed
};

}  // namespace cloudbus
