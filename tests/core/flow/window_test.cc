// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/flow/window.h"

#include <gtest/gtest.h>

#include "cloudbus/core/wire/hello.h"

namespace cloudbus {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Time kNow{std::chrono::hours(1)};
constexpr Duration kRoundTrip = milliseconds(10);
constexpr std::uint32_t kInitial = 64 * 1024;
constexpr std::uint64_t kPlenty = 1024 * 1024 * 1024;

// Receives and hands on `bytes`, as a fast reader does.
std::optional<std::uint64_t> pass(ReceiveWindow& window, std::uint64_t bytes, Time now, Budget& budget) {
  window.receive(bytes);
  return window.consume(bytes, now, kRoundTrip, budget, budget.pressed());
}

// Uses whole windows, one in each round trip, until `end`.
Time keep_busy(ReceiveWindow& window, Time now, Time end, Budget& budget) {
  for (; now < end; now += kRoundTrip / 4)
    pass(window, std::min<std::uint64_t>(window.window() / 4, window.limit() - window.received()), now, budget);
  return now;
}

TEST(Budget, ReservesAllOrNothing) {
  Budget budget(100);
  EXPECT_TRUE(budget.reserve(60));
  EXPECT_FALSE(budget.reserve(41));
  EXPECT_TRUE(budget.reserve(40));
  budget.release(10);
  EXPECT_TRUE(budget.reserve(10));
}

TEST(Budget, APartReservesInTheWholeToo) {
  Budget whole(100);
  Budget first(80, &whole), second(80, &whole);
  EXPECT_TRUE(first.reserve(80));
  EXPECT_FALSE(second.reserve(21));
  EXPECT_TRUE(second.reserve(20));
  first.release(80);
  EXPECT_TRUE(second.reserve(60));
  EXPECT_FALSE(second.reserve(1));  // its own limit
}

TEST(Budget, WhatTheWholeRefusesIsNotHeldByThePart) {
  Budget whole(10);
  Budget part(100, &whole);
  EXPECT_FALSE(part.reserve(50));
  EXPECT_TRUE(part.reserve(10));
  part.release(10);
  EXPECT_TRUE(whole.reserve(10));
}

TEST(Budget, AShareIsPressedAndExhaustedOnlyWhereItHoldsMoreThanIsLeft) {
  Budget whole(1600);
  Budget hog(Budget::Share{}, whole), other(Budget::Share{}, whole);
  hog.hold(900);
  EXPECT_TRUE(hog.pressed());
  EXPECT_FALSE(hog.exhausted());
  EXPECT_FALSE(other.pressed());
  hog.hold(650);
  EXPECT_TRUE(hog.exhausted());
  EXPECT_FALSE(other.exhausted());
  other.hold(90);  // beyond the whole, but less than one part in 16
  EXPECT_FALSE(other.exhausted());
  EXPECT_EQ(whole.buffered(), 1640u);
  hog.drop(1550);
  EXPECT_FALSE(hog.pressed());
}

TEST(Budget, IsPressedPastItsHalfAndExhaustedPastItsLimit) {
  Budget whole(100);
  Budget part(1'000, &whole);
  part.hold(50);
  EXPECT_FALSE(part.pressed());
  part.hold(1);
  EXPECT_TRUE(part.pressed());
  EXPECT_FALSE(part.exhausted());
  part.hold(49);
  EXPECT_FALSE(part.exhausted());
  part.hold(1);
  EXPECT_TRUE(part.exhausted());
  part.drop(101);
  EXPECT_FALSE(part.pressed());
  EXPECT_EQ(whole.buffered(), 0u);
}

TEST(ReceiveWindow, StartsWithItsInitialCredit) {
  ReceiveWindow window(kInitial);
  EXPECT_EQ(window.limit(), kInitial);
  EXPECT_TRUE(window.admits(kInitial));
  EXPECT_FALSE(window.admits(kInitial + 1));
  window.receive(kInitial);
  EXPECT_TRUE(window.admits(0));
  EXPECT_FALSE(window.admits(1));
}

TEST(ReceiveWindow, GrantsNothingWhenBytesArrive) {
  ReceiveWindow window(kInitial);
  window.receive(kInitial);
  EXPECT_EQ(window.limit(), kInitial);
}

TEST(ReceiveWindow, GrantsAgainWhenHalfOfItWasHandedOn) {
  Budget budget(kPlenty);
  ReceiveWindow window(kInitial);
  EXPECT_FALSE(pass(window, kInitial / 2 - 1, kNow, budget));
  EXPECT_EQ(pass(window, 1, kNow + seconds(1), budget), kInitial + kInitial / 2);
  EXPECT_EQ(window.limit(), kInitial + kInitial / 2);
}

TEST(ReceiveWindow, ASingleByteAtATimeNeverLeavesASenderWithoutCredit) {
  Budget budget(kPlenty);
  ReceiveWindow window(16 * 1024);
  for (int i = 0; i < 100'000; i++) {
    ASSERT_TRUE(window.admits(1)) << i;
    pass(window, 1, kNow + milliseconds(i), budget);
  }
}

TEST(ReceiveWindow, DoublesWhenHalfIsUsedWithinTwoRoundTrips) {
  Budget budget(kPlenty);
  ReceiveWindow window(kInitial);
  pass(window, 1, kNow, budget);  // a round begins
  pass(window, kInitial / 2, kNow + 2 * kRoundTrip, budget);
  EXPECT_EQ(window.window(), 2 * kInitial);
}

TEST(ReceiveWindow, StaysWhenHalfIsUsedMoreSlowly) {
  Budget budget(kPlenty);
  ReceiveWindow window(kInitial);
  pass(window, 1, kNow, budget);
  pass(window, kInitial / 2, kNow + 2 * kRoundTrip + Duration(1), budget);
  EXPECT_EQ(window.window(), kInitial);
  for (int i = 1; i < 50; i++) pass(window, kInitial / 4, kNow + i * 3 * kRoundTrip, budget);
  EXPECT_EQ(window.window(), kInitial);
}

TEST(ReceiveWindow, GrowsUpToItsMostAndNoFurther) {
  Budget budget(kPlenty);
  ReceiveWindow window(kInitial);
  keep_busy(window, kNow, kNow + seconds(5), budget);
  EXPECT_EQ(window.window(), ReceiveWindow::kMost);
  EXPECT_LE(window.limit() - window.consumed(), ReceiveWindow::kMost);
}

TEST(ReceiveWindow, ReachesItsMostInTwoRoundTripsForEachDoubling) {
  Budget budget(kPlenty);
  ReceiveWindow window(kInitial);
  keep_busy(window, kNow, kNow + 9 * 2 * kRoundTrip + kRoundTrip, budget);  // 64 KiB to 32 MiB is 9 doublings
  EXPECT_EQ(window.window(), ReceiveWindow::kMost);
}

TEST(ReceiveWindow, FallsBackAfterTenSecondsWithoutData) {
  Budget budget(kPlenty);
  ReceiveWindow window(kInitial);
  Time now = keep_busy(window, kNow, kNow + seconds(1), budget);
  ASSERT_GT(window.window(), kInitial);
  pass(window, 1, now + seconds(9), budget);
  EXPECT_GT(window.window(), kInitial);
  pass(window, 1, now + seconds(20), budget);
  EXPECT_EQ(window.window(), kInitial);
  EXPECT_TRUE(budget.reserve(kPlenty));
}

TEST(ReceiveWindow, NeverTakesCreditBackWhenItShrinks) {
  Budget budget(kPlenty);
  ReceiveWindow window(kInitial);
  Time now = keep_busy(window, kNow, kNow + seconds(1), budget);
  std::uint64_t limit = window.limit();
  pass(window, 1, now + seconds(20), budget);
  EXPECT_GE(window.limit(), limit);
  EXPECT_TRUE(window.admits(limit - window.received()));
}

TEST(ReceiveWindow, GrowsNoFurtherThanTheBudget) {
  Budget budget(3 * kInitial);  // a doubling to 2, and one to 4 times the initial window
  ReceiveWindow window(kInitial);
  keep_busy(window, kNow, kNow + seconds(5), budget);
  EXPECT_EQ(window.window(), 4 * kInitial);
  EXPECT_FALSE(budget.reserve(1));
}

TEST(ReceiveWindow, GivesBackWhatItReservedWhenItCloses) {
  Budget budget(kPlenty);
  ReceiveWindow window(kInitial);
  keep_busy(window, kNow, kNow + seconds(1), budget);
  EXPECT_FALSE(budget.reserve(kPlenty));
  window.close(budget);
  EXPECT_TRUE(budget.reserve(kPlenty));
}

TEST(ReceiveWindow, UnderPressureNoMoreThan16KiBAheadIsGranted) {
  Budget budget(1024 * 1024);
  ReceiveWindow window(kInitial);
  budget.hold(600 * 1024);
  EXPECT_FALSE(pass(window, kInitial / 2, kNow, budget));  // there is that much left
  auto limit = pass(window, kInitial / 2, kNow + seconds(1), budget);
  EXPECT_EQ(limit, kInitial + ReceiveWindow::kFloor);
}

TEST(ReceiveWindow, UnderPressureAStreamStillMoves) {
  Budget budget(1024 * 1024);
  ReceiveWindow window(kInitial);
  budget.hold(2 * 1024 * 1024);
  std::uint64_t moved = 0;
  for (int i = 0; i < 1'000; i++) {
    std::uint64_t part = std::min<std::uint64_t>(1'000, window.limit() - window.received());
    ASSERT_GT(part, 0u);
    pass(window, part, kNow + milliseconds(i), budget);
    moved += part;
  }
  EXPECT_GT(moved, 500'000u);
}

TEST(ReceiveWindow, WhenThePressureIsGoneTheWholeWindowIsGrantedAgain) {
  Budget budget(1024 * 1024);
  ReceiveWindow window(kInitial);
  budget.hold(600 * 1024);
  pass(window, kInitial, kNow, budget);
  budget.drop(600 * 1024);
  EXPECT_EQ(pass(window, 1, kNow + seconds(1), budget), kInitial + 1 + kInitial);
}

}  // namespace
}  // namespace cloudbus
