// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/policy/backoff.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

using std::chrono::milliseconds;

TEST(Backoff, DoublesUpToItsMost) {
  Backoff backoff(milliseconds(100), milliseconds(500));
  constexpr double kAlmostOne = 1 - 1e-12;
  for (int expected : {100, 200, 400, 500, 500})
    EXPECT_NEAR(static_cast<double>(backoff.next(kAlmostOne).count()), 1000.0 * expected, 1.0);
}

TEST(Backoff, WaitsBetweenHalfOfTheStepAndAllOfIt) {
  EXPECT_EQ(Backoff(milliseconds(100), milliseconds(500)).next(0), milliseconds(50));
  EXPECT_EQ(Backoff(milliseconds(100), milliseconds(500)).next(0.5), milliseconds(75));
}

TEST(Backoff, StartsAgainAfterAReset) {
  Backoff backoff(milliseconds(100), milliseconds(500));
  backoff.next(0);
  backoff.next(0);
  backoff.reset();
  EXPECT_EQ(backoff.next(0), milliseconds(50));
}

}  // namespace
}  // namespace cloudbus
