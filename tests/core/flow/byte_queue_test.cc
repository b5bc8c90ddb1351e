// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/flow/byte_queue.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <string>

namespace cloudbus {
namespace {

std::string contents(const ByteQueue& queue) {
  iovec parts[64];
  int count = queue.gather(parts, 64);
  std::string all;
  for (int i = 0; i < count; i++) all.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
  return all;
}

TEST(ByteQueue, BytesComeOutInTheirOrder) {
  Budget budget(1'000);
  ByteQueue queue;
  queue.push(as_bytes("one "), budget);
  queue.push(as_bytes("two"), budget);
  EXPECT_EQ(contents(queue), "one two");
  queue.pop(5);
  EXPECT_EQ(contents(queue), "wo");
  EXPECT_EQ(queue.size(), 2u);
}

TEST(ByteQueue, AnEmptyOneHoldsNothing) {
  Budget budget(1'000);
  ByteQueue queue;
  EXPECT_TRUE(queue.empty());
  queue.pop(0);
  queue.push({}, budget);
  iovec part;
  EXPECT_EQ(queue.gather(&part, 1), 0);
  queue.push(as_bytes("x"), budget);
  queue.pop(1);
  EXPECT_EQ(queue.gather(&part, 1), 0);
  EXPECT_TRUE(queue.empty());
}

TEST(ByteQueue, WhatItHoldsIsCountedInItsBudget) {
  Budget budget(1'000);
  {
    ByteQueue queue;
    queue.push(as_bytes(std::string(600, 'x')), budget);
    EXPECT_EQ(budget.buffered(), 600u);
    EXPECT_TRUE(budget.pressed());
    queue.pop(200);
    EXPECT_EQ(budget.buffered(), 400u);
  }
  EXPECT_EQ(budget.buffered(), 0u);
}

TEST(ByteQueue, GatherStopsWhereItIsTold) {
  Budget budget(1'000'000);
  ByteQueue queue;
  queue.push(as_bytes(std::string(300'000, 'x')), budget);
  iovec parts[2];
  EXPECT_EQ(queue.gather(parts, 2), 2);
}

TEST(ByteQueue, AVeryLongOneIsDroppedWithoutDeepRecursion) {
  Budget budget(1'000'000'000);
  auto queue = std::make_unique<ByteQueue>();
  std::string piece(64 * 1024, 'x');
  for (int i = 0; i < 2'000; i++) queue->push(as_bytes(piece), budget);
  queue.reset();
  EXPECT_EQ(budget.buffered(), 0u);
}

TEST(ByteQueue, AnyMixOfPushesAndPopsKeepsTheBytes) {
  std::mt19937 random(1);
  Budget budget(1'000'000'000);
  ByteQueue queue;
  std::string expected, next(100'000, ' ');
  for (int i = 0; i < 500; i++) {
    std::size_t size = random() % (random() % 4 == 0 ? 100'000 : 100);
    for (std::size_t j = 0; j < size; j++) next[j] = static_cast<char>(random());
    queue.push(as_bytes(std::string_view(next).substr(0, size)), budget);
    expected.append(next, 0, size);
    iovec parts[64];
    int count = queue.gather(parts, 64);
    std::size_t offset = 0;
    for (int part = 0; part < count; part++) {
      ASSERT_EQ(expected.compare(offset, parts[part].iov_len, static_cast<const char*>(parts[part].iov_base),
                                 parts[part].iov_len),
                0);
      offset += parts[part].iov_len;
    }
    std::size_t popped = std::min<std::size_t>(expected.size(), random() % 60'000);
    queue.pop(popped);
    expected.erase(0, popped);
    ASSERT_EQ(queue.size(), expected.size());
    ASSERT_EQ(budget.buffered(), expected.size());
  }
}

}  // namespace
}  // namespace cloudbus
