// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which of a service's servers a client is sent to, and which comes next when one is unreachable. Knows nothing of
// sockets: servers are numbers from 0, in the order of the configuration.

#include <cstddef>
#include <cstdint>
#include <span>
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
  // `names` identify the servers, at least one; for Hash their order does not matter. The round robin starts at `first`
  // modulo the number of servers: threads share nothing, and should not all start with the same server.
  Balance(BalancePolicy policy, std::span<const std::string> names, std::size_t first = 0);

  // Appends every server to `order`, in the order in which to try them. Hash uses `client`; `random` is drawn for each
  // call, all numbers equally likely.
  void order(std::string_view client, std::uint64_t random, std::vector<ServerIndex>& order);

  // A conversation with a server is being opened, or has ended. The round robin goes on behind the server of the last
  // begin(), so that the share of a server that is passed over is spread over all others.
  void begin(ServerIndex server);
  void end(ServerIndex server) { loads_[server]--; }
  std::uint64_t load(ServerIndex server) const { return loads_[server]; }

 private:
  void draw(std::uint64_t random, std::span<ServerIndex> order) const;
  void rank(std::string_view client, std::span<ServerIndex> order);

  BalancePolicy policy_;
  std::vector<std::uint64_t> seeds_;   // of the servers' names; for Hash
  std::vector<std::uint64_t> scores_;  // of the servers for one client; a member only to reuse its memory
  std::vector<std::uint64_t> loads_;   // conversations now
  std::size_t next_;                   // server of the round robin
};

}  // namespace cloudbus
