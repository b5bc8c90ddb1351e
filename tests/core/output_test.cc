// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/output.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "wire.h"

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
