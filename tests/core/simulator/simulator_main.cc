// SPDX-License-Identifier: Apache-2.0
// simulator [--seeds N] [[--fanout] --seed N]: the simulations of the seeds 1 to N, of a pair of sessions and of
// fan-outs, or that of one seed with a trace of what happens.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/simulator/fanout_simulator.h"
#include "core/simulator/simulator.h"

namespace cloudbus {
namespace {

std::uint64_t seeds = 10'000;

TEST(Simulator, EveryInvariantHoldsWithEverySeed) {
  std::uint64_t failures = 0;
  for (std::uint64_t seed = 1; seed <= seeds && failures < 10; seed++) {
    auto result = simulate(seed);
    if (result.error.empty()) continue;
    failures++;
    ADD_FAILURE() << "seed " << seed << ": " << result.error << "\nto see it: simulator --seed " << seed;
  }
}

TEST(Simulator, TheSameSeedDoesTheSame) {
  for (std::uint64_t seed = 1; seed <= 20; seed++) {
    auto first = simulate(seed), second = simulate(seed);
    EXPECT_EQ(first.fingerprint, second.fingerprint) << "seed " << seed;
    EXPECT_EQ(first.steps, second.steps) << "seed " << seed;
  }
}

// A simulation in which nothing happens would hold every invariant.
TEST(Simulator, TheSeedsReachEveryKindOfEnd) {
  std::uint64_t delivered = 0, streams = 0, resets = 0, finished = 0, cut = 0, resumed = 0;
  std::uint64_t runs = std::min<std::uint64_t>(seeds, 500);
  for (std::uint64_t seed = 1; seed <= runs; seed++) {
    auto result = simulate(seed);
    delivered += result.delivered;
    streams += result.streams;
    resets += result.resets;
    finished += result.finished;
    cut += result.was_cut;
    resumed += result.resumed;
  }
  EXPECT_GT(streams, 2 * runs);
  EXPECT_GT(finished, streams / 2);
  EXPECT_GT(resets, runs / 4);
  EXPECT_GT(delivered, runs * 10'000);
  EXPECT_GT(cut, runs / 10);
  EXPECT_GT(resumed, runs / 4);
}

TEST(FanoutSimulator, EveryInvariantHoldsWithEverySeed) {
  std::uint64_t failures = 0;
  for (std::uint64_t seed = 1; seed <= seeds && failures < 10; seed++) {
    auto result = simulate_fanout(seed);
    if (result.error.empty()) continue;
    failures++;
    ADD_FAILURE() << "seed " << seed << ": " << result.error << "\nto see it: simulator --fanout --seed " << seed;
  }
}

TEST(FanoutSimulator, TheSameSeedDoesTheSame) {
  for (std::uint64_t seed = 1; seed <= 20; seed++) {
    auto first = simulate_fanout(seed), second = simulate_fanout(seed);
    EXPECT_EQ(first.fingerprint, second.fingerprint) << "seed " << seed;
    EXPECT_EQ(first.steps, second.steps) << "seed " << seed;
  }
}

TEST(FanoutSimulator, TheSeedsReachEveryKindOfEnd) {
  FanoutResult sum{};
  std::uint64_t runs = std::min<std::uint64_t>(seeds, 500);
  for (std::uint64_t seed = 1; seed <= runs; seed++) {
    auto result = simulate_fanout(seed);
    for (auto count : {&FanoutResult::conversations, &FanoutResult::up, &FanoutResult::down, &FanoutResult::clean_ends,
                       &FanoutResult::resets, &FanoutResult::no_quorums, &FanoutResult::winners, &FanoutResult::losers,
                       &FanoutResult::replaced, &FanoutResult::lagging, &FanoutResult::waits, &FanoutResult::lost_links,
                       &FanoutResult::resumed})
      sum.*count += result.*count;
  }
  EXPECT_GT(sum.conversations, runs);
  EXPECT_GT(sum.up, runs * 10'000);
  EXPECT_GT(sum.down, runs * 10'000);
  EXPECT_GT(sum.clean_ends, runs / 2);
  EXPECT_GT(sum.resets, runs / 10);
  EXPECT_GT(sum.no_quorums, runs / 20);
  EXPECT_GT(sum.winners, runs / 10);
  EXPECT_GT(sum.losers, runs / 20);
  EXPECT_GT(sum.replaced, runs / 50);
  EXPECT_GT(sum.lagging, runs / 50);
  EXPECT_GT(sum.waits, runs / 50);
  EXPECT_GT(sum.lost_links, runs / 20);
  EXPECT_GT(sum.resumed, runs / 4);
}

int report(std::uint64_t seed, const std::string& error, std::uint64_t steps, std::uint64_t delivered) {
  std::printf("seed %llu: %s after %llu steps, %llu bytes delivered\n", static_cast<unsigned long long>(seed),
              error.empty() ? "all holds" : error.c_str(), static_cast<unsigned long long>(steps),
              static_cast<unsigned long long>(delivered));
  return error.empty() ? 0 : 1;
}

int replay(std::uint64_t seed) {
  auto result = simulate(seed, true);
  return report(seed, result.error, result.steps, result.delivered);
}

int replay_fanout(std::uint64_t seed) {
  auto result = simulate_fanout(seed, true);
  return report(seed, result.error, result.steps, result.up + result.down);
}

}  // namespace
}  // namespace cloudbus

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (const char* text = std::getenv("SIM_SEEDS")) cloudbus::seeds = std::strtoull(text, nullptr, 10);
  bool is_fanout = false;
  for (int i = 1; i < argc; i++) {
    std::string_view flag = argv[i];
    if (flag == "--fanout") {
      is_fanout = true;
      continue;
    }
    if (i + 1 == argc || (flag != "--seed" && flag != "--seeds")) {
      std::fprintf(stderr, "usage: simulator [--seeds N] [[--fanout] --seed N]\n");
      return 1;
    }
    std::uint64_t number = std::strtoull(argv[++i], nullptr, 10);
    if (flag == "--seed") return is_fanout ? cloudbus::replay_fanout(number) : cloudbus::replay(number);
    cloudbus::seeds = number;
  }
  if (cloudbus::seeds == 0) {
    std::fprintf(stderr, "simulator: no seeds to run\n");
    return 1;
  }
  return RUN_ALL_TESTS();
}
