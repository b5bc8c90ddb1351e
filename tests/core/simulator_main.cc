// SPDX-License-Identifier: Apache-2.0
// simulator [--seeds N] [--seed N]: the simulations of the seeds 1 to N, or of one seed with a trace of what happens.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "simulator.h"

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
  std::uint64_t delivered = 0, streams = 0, resets = 0, finished = 0, cut = 0;
  std::uint64_t runs = std::min<std::uint64_t>(seeds, 500);
  for (std::uint64_t seed = 1; seed <= runs; seed++) {
    auto result = simulate(seed);
    delivered += result.delivered;
    streams += result.streams;
    resets += result.resets;
    finished += result.finished;
    cut += result.was_cut;
  }
  EXPECT_GT(streams, 2 * runs);
  EXPECT_GT(finished, streams / 2);
  EXPECT_GT(resets, runs / 4);
  EXPECT_GT(delivered, runs * 10'000);
  EXPECT_GT(cut, runs / 10);
}

int replay(std::uint64_t seed) {
  auto result = simulate(seed, true);
  std::printf("seed %llu: %s after %llu steps, %llu bytes delivered\n", static_cast<unsigned long long>(seed),
              result.error.empty() ? "all holds" : result.error.c_str(), static_cast<unsigned long long>(result.steps),
              static_cast<unsigned long long>(result.delivered));
  return result.error.empty() ? 0 : 1;
}

}  // namespace
}  // namespace cloudbus

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (const char* text = std::getenv("SIM_SEEDS")) cloudbus::seeds = std::strtoull(text, nullptr, 10);
  for (int i = 1; i < argc; i += 2) {
    std::string_view flag = argv[i];
    if (i + 1 == argc || (flag != "--seed" && flag != "--seeds")) {
      std::fprintf(stderr, "usage: simulator [--seeds N] [--seed N]\n");
      return 1;
    }
    std::uint64_t number = std::strtoull(argv[i + 1], nullptr, 10);
    if (flag == "--seed") return cloudbus::replay(number);
    cloudbus::seeds = number;
  }
  if (cloudbus::seeds == 0) {
    std::fprintf(stderr, "simulator: no seeds to run\n");
    return 1;
  }
  return RUN_ALL_TESTS();
}
