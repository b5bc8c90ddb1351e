// SPDX-License-Identifier: Apache-2.0
#pragma once

// The connections that this process has dialled, so that it knows them when they come back as clients: then a
// controller listens at what a service has for its server, and every turn of the loop would make another one.
//
// What is kept for each local port is a hash of both ends of the last connection from there. That is enough: the
// connection that closes a loop has just been dialled. It is never forgotten, since whoever has the same two ends later
// would be in the same loop.

#include <atomic>
#include <cstdint>
#include <optional>

#include "cloudbus/app/config/config.h"
#include "cloudbus/core/wire/hello.h"

namespace cloudbus {

class OwnDials {
 public:
  // From any thread, all of these.
  static OwnDials& of_process();

  void add(const ConnectionEnds& ends, ServiceId service);
  // Which service dialled it; nothing for the connection of somebody else.
  std::optional<ServiceId> find(const ConnectionEnds& ends) const;

 private:
  static constexpr std::size_t kPorts = 65536;

  OwnDials() = default;

  std::atomic<std::uint64_t> by_port_[kPorts];  // the hash, and the service; 0 is none
};

}  // namespace cloudbus
