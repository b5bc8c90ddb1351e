// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/fanout/backlog.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>

#include "cloudbus/core/base/bytes.h"

namespace cloudbus {
namespace {

constexpr std::uint64_t kMemory = 1024 * 1024 * 1024;

struct BacklogTest : testing::Test {
  // Appends all of `bytes`, in as many pieces as it takes.
  void append(std::string_view bytes) {
    while (!bytes.empty()) {
      iovec place = backlog.reserve(bytes.size());
      ASSERT_GT(place.iov_len, 0u);
      ASSERT_LE(place.iov_len, bytes.size());
      std::memcpy(place.iov_base, bytes.data(), place.iov_len);
      backlog.commit(place.iov_len);
      bytes.remove_prefix(place.iov_len);
    }
  }
  // All that is kept from `offset` on.
  std::string from(std::uint64_t offset) const {
    std::string text;
    while (offset < backlog.end()) {
      Slice piece = backlog.piece(offset);
      text += as_text({piece.data(), piece.size});
      offset += piece.size;
    }
    return text;
  }

  SlabPool pool;
  Budget budget{kMemory};
  Backlog backlog{pool, budget};
};

TEST_F(BacklogTest, IsEmptyAtFirst) {
  EXPECT_TRUE(backlog.empty());
  EXPECT_EQ(backlog.begin(), 0u);
  EXPECT_EQ(backlog.end(), 0u);
}

TEST_F(BacklogTest, KeepsWhatIsAppended) {
  append("one ");
  append("two");
  EXPECT_EQ(backlog.end(), 7u);
  EXPECT_EQ(from(0), "one two");
  EXPECT_EQ(from(4), "two");
}

TEST_F(BacklogTest, WhatFollowsInTheSameSlabIsOnePiece) {
  append("one ");
  append("two");
  EXPECT_EQ(backlog.piece(0).size, 7u);
  EXPECT_EQ(backlog.piece(3).size, 4u);
}

TEST_F(BacklogTest, LessMayBeCommittedThanWasReserved) {
  iovec place = backlog.reserve(1'000);
  std::memcpy(place.iov_base, "little", 6);
  backlog.commit(3);
  append("x");
  EXPECT_EQ(from(0), "litx");
}

TEST_F(BacklogTest, ForgetsWhatIsBeforeAnOffset) {
  append("0123456789");
  backlog.trim(4);
  EXPECT_EQ(backlog.begin(), 4u);
  EXPECT_EQ(from(4), "456789");
  backlog.trim(2);  // goes back: changes nothing
  EXPECT_EQ(backlog.begin(), 4u);
  backlog.trim(10);
  EXPECT_TRUE(backlog.empty());
  append("ab");
  EXPECT_EQ(backlog.begin(), 10u);
  EXPECT_EQ(from(10), "ab");
}

TEST_F(BacklogTest, CountsWhatItKeepsAgainstTheBudget) {
  {
    Backlog other(pool, budget);
    other.reserve(5'000);
    other.commit(5'000);
    append("12345");
    EXPECT_EQ(budget.buffered(), 5'005u);
    backlog.trim(2);
    EXPECT_EQ(budget.buffered(), 5'003u);
  }
  EXPECT_EQ(budget.buffered(), 3u);
}

TEST_F(BacklogTest, APieceOutlivesItsForgetting) {
  append("shared");
  Slice piece = backlog.piece(0);
  backlog.trim(6);
  append("others");
  EXPECT_EQ(as_text({piece.data(), piece.size}), "shared");
}

TEST_F(BacklogTest, LittleTakesASmallSlab) {
  append("little");
  EXPECT_EQ(backlog.piece(0).slab->capacity(), Slab::kSmallCapacity);
  append(std::string(Slab::kSmallCapacity, 'x'));
  EXPECT_EQ(backlog.piece(backlog.end() - 1).slab->capacity(), Slab::kSmallCapacity);
}

TEST_F(BacklogTest, MuchTakesALargeSlab) {
  append(std::string(Slab::kSmallCapacity + 1, 'x'));
  EXPECT_EQ(backlog.piece(0).slab->capacity(), Slab::kCapacity);
  append("little behind it");
  EXPECT_TRUE(backlog.piece(0).slab == backlog.piece(backlog.end() - 1).slab);
}

TEST_F(BacklogTest, ASlabThatIsNearlyFullIsLeft) {
  append(std::string(Slab::kCapacity - 100 * 1024, 'x'));
  EXPECT_EQ(backlog.reserve(200 * 1024).iov_len, 200u * 1024);
}

TEST_F(BacklogTest, WhatIsNotUsedIsGivenBack) {
  {
    Backlog other(pool, budget);
    void* place = other.reserve(500'000).iov_base;
    other.commit(0);  // the read found nothing
    EXPECT_EQ(pool.take()->data(), place);
  }
  void* place = backlog.reserve(500'000).iov_base;
  backlog.commit(10);
  backlog.commit(0);
  EXPECT_EQ(backlog.piece(0).data(), place);
  backlog.trim(10);
  EXPECT_EQ(pool.take()->data(), place);
}

TEST_F(BacklogTest, AnyPiecesAndAnyTrimsKeepTheRest) {
  std::mt19937 random(1);
  std::string all;
  std::uint64_t begin = 0;
  for (int i = 0; i < 400; i++) {
    std::string bytes(1 + random() % (random() % 8 == 0 ? 300'000 : 3'000), static_cast<char>('a' + i % 26));
    append(bytes);
    all += bytes;
    if (random() % 3 != 0) backlog.trim(begin += random() % (all.size() - begin + 1));
    ASSERT_EQ(backlog.end(), all.size());
    std::uint64_t offset = begin + random() % (all.size() - begin + 1);
    ASSERT_TRUE(from(offset) == all.substr(offset));
    ASSERT_EQ(budget.buffered(), all.size() - begin);
  }
}

}  // namespace
}  // namespace cloudbus
