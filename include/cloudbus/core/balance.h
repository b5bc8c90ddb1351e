// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which of a service's servers a client is sent to, and which comes next when one cannot be had. Knows nothing of
// sockets: servers are numbers from 0 in the order of the configuration.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cloudbus {

enum class BalancePolicy : std::uint8_t {
  RoundRobin,
  LeastConnections,  // of this service; round robin among equals
  Random,            // the less loaded of two drawn at random
  Hash,              // by the client: rendezvous hashing, the same in every process
  First,             // in order; the others are spares
};

using ServerIndex = std::uint32_t;

class Balance {
 public:
  // `names` identify the servers for Hash; their order does not matter to it.
  Balance(BalancePolicy policy, std::vector<std::string> names);

  // Appends every server to `order`, the one to be tried first in front. `client` is what Hash goes by; `random` is an
  // even number, drawn anew for each call.
  void order(std::string_view client, std::uint64_t random, std::vector<ServerIndex>& order);

  // A conversation with a server has begun, or ended.
  void begin(ServerIndex server) { loads_[server]++; }
  void end(ServerIndex server) { loads_[server]--; }
  std::uint64_t load(ServerIndex server) const { return loads_[server]; }

 private:
  BalancePolicy policy_;
  std::vector<std::string> names_;
  std::vector<std::uint64_t> loads_;  // conversations now
  ServerIndex next_ = 0;              // of the round robin
};

}  // namespace cloudbus
