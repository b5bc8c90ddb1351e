// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which of a service's servers a client is sent to, and which comes next when one is unreachable. Knows nothing of
// sockets.

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

// A number of a server within its service. It stays while others come and go, and while something refers to it.
using ServerIndex = std::uint32_t;

class Balance {
 public:
  struct Server {
    ServerIndex index;
    std::string name;  // identifies it for Hash
  };

  // The round robin starts at `first`, modulo the number of servers: threads share nothing, and shall not all start
  // with the same server.
  explicit Balance(std::size_t first = 0) : next_(first) {}
  // With servers 0, 1, ...
  Balance(BalancePolicy policy, std::span<const std::string> names, std::size_t first = 0);

  // Clients are sent to these servers from here on, at least one; their order does not matter to Hash. Loads stay,
  // also those of servers that are not among them any more.
  void set(BalancePolicy policy, std::span<const Server> servers);

  // Appends every server to `order`, the one to be tried first in front. `client` is what Hash goes by; `random` is
  // drawn anew for each call, all numbers being as likely.
  void order(std::string_view client, std::uint64_t random, std::vector<ServerIndex>& order);

  // A conversation with a server has begun, with the opening of it, or ended. The round robin goes on behind the server
  // that was begun last, so that the share of one that is passed over is spread over all others.
  void begin(ServerIndex server);
  void end(ServerIndex server) { loads_[server]--; }
  std::uint64_t load(ServerIndex server) const { return loads_[server]; }

 private:
  void draw(std::uint64_t random, std::span<ServerIndex> order) const;
  void rank(std::string_view client, std::span<ServerIndex> order);

  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  BalancePolicy policy_ = BalancePolicy::RoundRobin;
  std::vector<ServerIndex> servers_;  // in the order of the configuration
  // By index.
  std::vector<std::size_t> positions_;  // in servers_; kNone for one that is not there any more
  std::vector<std::uint64_t> seeds_;    // of the servers' names; for Hash
  std::vector<std::uint64_t> scores_;   // of the servers for one client; kept for its memory
  std::vector<std::uint64_t> loads_;    // conversations now
  std::size_t next_;                    // of the round robin: a position
};

}  // namespace cloudbus
