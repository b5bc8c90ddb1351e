// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/policy/balance.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace cloudbus {
namespace {

std::uint64_t hash(std::string_view text, std::uint64_t seed) { return XXH64(text.data(), text.size(), seed); }

// Many numbers out of one: SplitMix64.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : state_(seed) {}

  // 0 to n - 1; n is far below 2^32.
  std::size_t below(std::size_t n) {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return ((z ^ (z >> 31)) >> 32) * n >> 32;
  }

 private:
  std::uint64_t state_;
};

}  // namespace

Balance::Balance(BalancePolicy policy, std::span<const std::string> names, std::size_t first) : next_(first) {
  std::vector<Server> servers;
  for (const std::string& name : names) servers.push_back({static_cast<ServerIndex>(servers.size()), name});
  set(policy, servers);
}

void Balance::set(BalancePolicy policy, std::span<const Server> servers) {
  std::size_t first = servers_.empty() ? next_ : servers_[next_];
  bool goes_on = !servers_.empty();
  policy_ = policy;
  servers_.clear();
  std::ranges::fill(positions_, kNone);
  for (const Server& server : servers) {
    std::size_t size = std::max<std::size_t>(positions_.size(), server.index + 1);
    positions_.resize(size, kNone);
    seeds_.resize(size);
    scores_.resize(size);
    loads_.resize(size);
    positions_[server.index] = servers_.size();
    seeds_[server.index] = policy == BalancePolicy::Hash ? hash(server.name, 0) : 0;
    servers_.push_back(server.index);
  }
  if (goes_on)
    next_ = positions_[first] == kNone ? next_ % servers_.size() : positions_[first];
  else
    next_ = first % servers_.size();
}

void Balance::order(std::string_view client, std::uint64_t random, std::vector<ServerIndex>& order) {
  const std::size_t before = order.size();
  order.resize(before + servers_.size());
  std::span<ServerIndex> added = std::span(order).subspan(before);
  const bool round = policy_ == BalancePolicy::RoundRobin || policy_ == BalancePolicy::LeastConnections;
  for (std::size_t i = 0; i < added.size(); i++) added[i] = servers_[(i + (round ? next_ : 0)) % added.size()];
  if (added.size() == 1) return;

  auto is_less_loaded = [this](ServerIndex one, ServerIndex other) { return loads_[one] < loads_[other]; };
  switch (policy_) {
    case BalancePolicy::LeastConnections: std::stable_sort(added.begin(), added.end(), is_less_loaded); break;
    case BalancePolicy::Random: draw(random, added); break;
    case BalancePolicy::Hash: rank(client, added); break;
    case BalancePolicy::RoundRobin:
    case BalancePolicy::First: break;
  }
}

void Balance::begin(ServerIndex server) {
  loads_[server]++;
  std::size_t position = positions_[server];
  if (position != kNone) next_ = position + 1 == servers_.size() ? 0 : position + 1;
}

// Each position goes to the less loaded of two servers that are drawn from those without a position.
void Balance::draw(std::uint64_t random, std::span<ServerIndex> order) const {
  Draws draws(random);
  for (; order.size() > 1; order = order.subspan(1)) {
    std::size_t one = draws.below(order.size());
    std::size_t other = draws.below(order.size() - 1);
    if (other >= one) other++;
    bool better = loads_[order[other]] < loads_[order[one]];
    std::swap(order[0], order[better ? other : one]);
  }
}

// A server's score for a client depends only on that server and that client, so that other servers may come and go.
void Balance::rank(std::string_view client, std::span<ServerIndex> order) {
  for (ServerIndex server : order) scores_[server] = hash(client, seeds_[server]);
  auto key = [this](ServerIndex server) { return std::tuple(scores_[server], seeds_[server]); };
  std::ranges::sort(order, std::ranges::greater(), key);
}

}  // namespace cloudbus
