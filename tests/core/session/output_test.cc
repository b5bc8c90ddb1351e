// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/session/output.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "core/wire.h"

namespace cloudbus {
namespace {

using wire::Buffer;

void append(Output& output, const Buffer& bytes) {
  std::memcpy(output.append(bytes.size()), bytes.data(), bytes.size());
}

// Puts `bytes` into frames of a stream, as a read from a socket does.
// Room may be for less than was asked: returns how many bytes were taken.
std::size_t send(Output& output, StreamId stream, const Buffer& bytes, std::size_t room_for) {
  Output::Room room = output.reserve(room_for);
  std::size_t done = 0, total = 0;
  for (int i = 0; i < room.count; i++) {
    std::size_t part = std::min(room.parts[i].iov_len, bytes.size() - done);
    std::memcpy(room.parts[i].iov_base, bytes.data() + done, part);
    done += part;
    total += room.parts[i].iov_len;
  }
  EXPECT_EQ(total, room.size);
  if (done > 0) output.commit(stream, done);
  return done;
}

// The frames that so many bytes become in one commit.
Buffer frames_of(StreamId stream, Bytes bytes) {
  Buffer out;
  for (; !bytes.empty(); bytes = bytes.subspan(std::min(bytes.size(), kMaxPayload))) {
    Bytes part = bytes.first(std::min(bytes.size(), kMaxPayload));
    out += wire::data(stream, Buffer(part.begin(), part.end()));
  }
  return out;
}

Buffer take(Output& output, std::size_t most) {
  Buffer out;
  iovec parts[3];
  int count = output.gather(parts, 3);
  for (int i = 0; i < count && out.size() < most; i++) {
    auto* begin = static_cast<const std::byte*>(parts[i].iov_base);
    out.insert(out.end(), begin, begin + std::min(parts[i].iov_len, most - out.size()));
  }
  output.consume(out.size());
  return out;
}

Buffer take_all(Output& output) {
  Buffer out;
  while (!output.empty()) {
    Buffer part = take(output, 1'000'000);
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

Buffer pattern(std::size_t size) {
  Buffer bytes(size);
  for (std::size_t i = 0; i < size; i++) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
  return bytes;
}

TEST(Output, WhatWasAppendedComesOutInItsOrder) {
  SlabPool pool;
  Output output(pool);
  EXPECT_TRUE(output.empty());
  append(output, wire::text("one "));
  append(output, wire::text("two"));
  EXPECT_EQ(output.size(), 7u);
  EXPECT_EQ(take_all(output), wire::text("one two"));
  EXPECT_TRUE(output.empty());
}

TEST(Output, CommittedBytesStandBehindTheirHeader) {
  SlabPool pool;
  Output output(pool);
  EXPECT_EQ(send(output, 5, wire::text("hello"), 1'000), 5u);
  EXPECT_EQ(output.size(), kHeaderSize + 5);
  EXPECT_EQ(take_all(output), wire::data(5, "hello"));
}

TEST(Output, NothingCommittedIsNothingWritten) {
  SlabPool pool;
  Output output(pool);
  output.reserve(1'000);
  EXPECT_TRUE(output.empty());
  append(output, wire::text("x"));
  EXPECT_EQ(take_all(output), wire::text("x"));
}

TEST(Output, ALargeReadBecomesFramesOfTheGreatestLength) {
  SlabPool pool;
  Output output(pool);
  Buffer bytes = pattern(2 * kMaxPayload + 10);
  EXPECT_EQ(send(output, 9, bytes, Output::kMaxFill), bytes.size());
  Buffer expected = frames_of(9, bytes);
  EXPECT_EQ(expected.size(), bytes.size() + 3 * kHeaderSize);
  EXPECT_EQ(take_all(output), expected);
}

TEST(Output, OneReserveTakesAllThatMayBeFilled) {
  SlabPool pool;
  Output output(pool);
  std::size_t total = 0;
  Output::Room room = output.reserve(10 * Output::kMaxFill);
  for (int i = 0; i < room.count; i++) total += room.parts[i].iov_len;
  EXPECT_EQ(total, Output::kMaxFill);
  EXPECT_EQ(room.size, total);
  EXPECT_LE(room.count, static_cast<int>(Output::kMaxParts));
}

TEST(Output, ConsumingInAnyPiecesKeepsTheRest) {
  std::mt19937 random(1);
  SlabPool pool;
  Output output(pool);
  Buffer expected, seen;
  for (int i = 0; i < 300; i++) {
    Buffer bytes = pattern(1 + random() % (random() % 8 == 0 ? 300'000 : 500));
    if (bytes.size() <= kHeaderSize + kMaxControl) {
      append(output, bytes);
      expected.insert(expected.end(), bytes.begin(), bytes.end());
    }
    std::size_t before = output.size(), sent = send(output, 3, bytes, bytes.size() + random() % 1'000);
    Buffer frames = frames_of(3, Bytes(bytes).first(sent));
    EXPECT_EQ(output.size(), before + frames.size());
    expected += frames;
    Buffer part = take(output, random() % 200'000);
    seen.insert(seen.end(), part.begin(), part.end());
  }
  Buffer rest = take_all(output);
  seen.insert(seen.end(), rest.begin(), rest.end());
  EXPECT_TRUE(seen == expected);
}

TEST(Output, GatherStopsWhereItIsTold) {
  SlabPool pool;
  Output output(pool);
  for (int i = 0; i < 10; i++) send(output, 1, pattern(400'000), 400'000);
  iovec parts[4];
  EXPECT_EQ(output.gather(parts, 4), 4);
  EXPECT_EQ(output.gather(parts, 1), 1);
}

// --- Bytes that several outputs share ---

// A slab of its own with these bytes.
Slice slice_of(SlabPool& pool, Bytes bytes) {
  SlabRef slab = pool.take();
  std::memcpy(slab->data(), bytes.data(), bytes.size());
  slab->used = bytes.size();
  return {slab, 0, bytes.size()};
}

Slice part_of(const Slice& slice, std::size_t offset, std::size_t size) {
  return {slice.slab, slice.offset + offset, size};
}

TEST(Output, SharedBytesStandBehindTheirHeader) {
  SlabPool pool;
  for (std::size_t size : {std::size_t{1}, std::size_t{1'023}, std::size_t{1'024}, kMaxPayload}) {
    Output output(pool);
    Buffer bytes = pattern(size);
    EXPECT_EQ(output.share(7, slice_of(pool, bytes)), kHeaderSize + size);
    EXPECT_EQ(output.size(), kHeaderSize + size);
    EXPECT_TRUE(take_all(output) == frames_of(7, bytes)) << size;
    EXPECT_TRUE(output.empty());
  }
}

TEST(Output, ALargeSliceBecomesFramesOfTheGreatestLength) {
  SlabPool pool;
  Output output(pool);
  Buffer bytes = pattern(3 * kMaxPayload + 10);
  EXPECT_EQ(output.share(7, slice_of(pool, bytes)), bytes.size() + 4 * kHeaderSize);
  EXPECT_TRUE(take_all(output) == frames_of(7, bytes));
}

TEST(Output, APartOfASliceIsShared) {
  SlabPool pool;
  Output output(pool);
  Buffer bytes = pattern(10'000);
  Slice whole = slice_of(pool, bytes);
  output.share(7, part_of(whole, 5'000, 3'000));
  EXPECT_TRUE(take_all(output) == frames_of(7, Bytes(bytes).subspan(5'000, 3'000)));
}

TEST(Output, SharedBytesAreWrittenFromWhereTheyAre) {
  SlabPool pool;
  Output output(pool);
  Slice slice = slice_of(pool, pattern(5'000));
  output.share(7, slice);
  iovec parts[3];
  ASSERT_EQ(output.gather(parts, 3), 2);
  EXPECT_EQ(parts[0].iov_len, kHeaderSize);
  EXPECT_EQ(parts[1].iov_base, slice.data());
  EXPECT_EQ(parts[1].iov_len, 5'000u);
}

TEST(Output, AFewBytesAreCopied) {
  SlabPool pool;
  Output output(pool);
  for (int i = 0; i < 3; i++) output.share(7, slice_of(pool, pattern(100)));
  iovec parts[3];
  EXPECT_EQ(output.gather(parts, 3), 1);
  EXPECT_EQ(parts[0].iov_len, 3 * (kHeaderSize + 100));
}

TEST(Output, ASlabIsKeptUntilTheLastOutputHasWrittenIt) {
  SlabPool pool;
  Output first(pool), second(pool);
  Buffer bytes = pattern(5'000);
  const std::byte* place;
  {
    Slice slice = slice_of(pool, bytes);
    place = slice.data();
    first.share(7, slice);
    second.share(9, slice);
  }
  EXPECT_TRUE(take_all(first) == frames_of(7, bytes));
  EXPECT_NE(pool.take()->data(), place);
  EXPECT_TRUE(take_all(second) == frames_of(9, bytes));
  std::vector<SlabRef> all;
  for (int i = 0; i < 4; i++) all.push_back(pool.take());
  EXPECT_TRUE(std::ranges::any_of(all, [place](const SlabRef& slab) { return slab->data() == place; }));
}

TEST(Output, WhatIsSharedKeepsItsPlaceAmongTheOthers) {
  std::mt19937 random(2);
  SlabPool pool;
  Output output(pool);
  Buffer expected, seen;
  for (int i = 0; i < 500; i++) {
    Buffer bytes = pattern(1 + random() % (random() % 8 == 0 ? 300'000 : 3'000));
    switch (random() % 3) {
      case 0:
        bytes.resize(std::min(bytes.size(), kHeaderSize + kMaxControl));
        append(output, bytes);
        expected += bytes;
        break;
      case 1: expected += frames_of(3, Bytes(bytes).first(send(output, 3, bytes, bytes.size()))); break;
      case 2:
        output.share(5, slice_of(pool, bytes));
        expected += frames_of(5, bytes);
        break;
    }
    Buffer part = take(output, random() % 200'000);
    seen.insert(seen.end(), part.begin(), part.end());
  }
  Buffer rest = take_all(output);
  seen.insert(seen.end(), rest.begin(), rest.end());
  EXPECT_TRUE(seen == expected);
}

// --- Slabs ---

TEST(SlabPool, ASmallSlabIsNotKeptForOthers) {
  SlabPool pool;
  SlabRef small = pool.take_small();
  EXPECT_EQ(small->capacity(), Slab::kSmallCapacity);
  EXPECT_EQ(small->room(), Slab::kSmallCapacity);
  small.reset();
  EXPECT_EQ(pool.take()->capacity(), Slab::kCapacity);
}

TEST(SlabPool, AReferenceThatMovesLeavesNothingBehind) {
  SlabPool pool;
  SlabRef first = pool.take();
  std::byte* place = first->data();
  SlabRef second = std::move(first);
  EXPECT_FALSE(first);
  EXPECT_TRUE(second);
  first = second;
  EXPECT_TRUE(first == second);
  second = SlabRef();
  EXPECT_NE(pool.take()->data(), place);
  first = SlabRef();
  EXPECT_EQ(pool.take()->data(), place);
}

TEST(SlabPool, GivesASlabOutAgain) {
  SlabPool pool;
  std::byte* first = pool.take()->data();
  SlabRef again = pool.take();
  EXPECT_EQ(again->data(), first);
  EXPECT_EQ(again->used, 0u);
}

TEST(SlabPool, ASlabThatIsStillReferencedIsNotGivenOut) {
  SlabPool pool;
  SlabRef held = pool.take();
  SlabRef copy = held;
  held.reset();
  EXPECT_NE(pool.take()->data(), copy->data());
}

TEST(SlabPool, TwoOutputsOfOnePoolDoNotMix) {
  SlabPool pool;
  Output first(pool), second(pool);
  for (int i = 0; i < 50; i++) {
    append(first, wire::text("first "));
    append(second, wire::text("second "));
    if (i % 10 == 0) {
      EXPECT_NE(take(first, 3), take(second, 3));
    }
  }
  take_all(second);
  append(second, wire::text("more"));
  EXPECT_EQ(wire::Buffer(take_all(first)).size(), 50u * 6 - 15);
  EXPECT_EQ(take_all(second), wire::text("more"));
}

}  // namespace
}  // namespace cloudbus
