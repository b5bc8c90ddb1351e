// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/wire/frame.h"

#include <gtest/gtest.h>

#include "core/wire.h"

namespace cloudbus {
namespace {

// doc/protocol.md, section 2.1, as the test reads it.
struct Row {
  unsigned type;
  bool has_stream;
  unsigned shortest, longest, flags;
  bool reliable;
};
constexpr Row kTable[] = {
    {1, false, 0, 1'024, 0, false}, {2, true, 22, 1'024, 0, true}, {3, true, 0, 256, 0, true},
    {4, true, 0, 65'535, 1, true},  {5, true, 8, 8, 0, true},      {6, true, 10, 266, 0, true},
    {7, true, 2, 2, 0, true},       {8, false, 8, 8, 0, true},     {9, false, 8, 8, 1, false},
    {10, false, 8, 8, 0, true},     {11, false, 8, 8, 0, false},   {12, false, 64, 64, 0, false},
    {13, false, 2, 258, 0, false},
};

const Row* row_of(unsigned type) {
  for (const Row& row : kTable)
    if (row.type == type) return &row;
  return nullptr;
}

bool is_valid(unsigned type, unsigned flags, unsigned length, StreamId stream) {
  const Row* row = row_of(type);
  return row && length >= row->shortest && length <= row->longest && (flags & ~row->flags) == 0 &&
         (stream != 0) == row->has_stream;
}

FrameHeader header_of(unsigned type, unsigned flags, unsigned length, StreamId stream) {
  return {static_cast<FrameType>(type), static_cast<std::uint8_t>(flags), static_cast<std::uint16_t>(length), stream};
}

TEST(Frame, AHeaderIsTwelveBytesInNetworkOrder) {
  std::byte out[kHeaderSize];
  auto* end = encode(out, {FrameType::Data, kFin, 0x0102, 0x1112131415161718});
  EXPECT_EQ(end, out + kHeaderSize);
  wire::Buffer expected = wire::u8(4) + wire::u8(1) + wire::u16(0x0102) + wire::u64(0x1112131415161718);
  EXPECT_EQ(wire::Buffer(out, end), expected);
}

TEST(Frame, AHeaderReadsBackAsItWasWritten) {
  std::byte out[kHeaderSize];
  encode(out, {FrameType::Reset, 0x80, 65'535, ~StreamId{0}});
  FrameHeader header = decode_header(out);
  EXPECT_EQ(header.type, FrameType::Reset);
  EXPECT_EQ(header.flags, 0x80);
  EXPECT_EQ(header.length, 65'535);
  EXPECT_EQ(header.stream, ~StreamId{0});
}

TEST(Frame, EveryTypeTakesTheLengthsOfTheTableAndNoOthers) {
  for (unsigned type = 0; type < 256; type++)
    for (unsigned length = 0; length <= 65'535; length++)
      for (StreamId stream : {StreamId{0}, StreamId{1}})
        if ((header_error(header_of(type, 0, length, stream)) == nullptr) != is_valid(type, 0, length, stream))
          FAIL() << "type " << type << " length " << length << " stream " << stream;
}

TEST(Frame, EveryTypeTakesTheFlagsOfTheTableAndNoOthers) {
  for (unsigned type = 0; type < 256; type++)
    for (unsigned flags = 0; flags < 256; flags++)
      for (unsigned length : {0u, 2u, 8u, 10u, 22u, 64u}) {
        StreamId stream = row_of(type) && row_of(type)->has_stream ? 7 : 0;
        EXPECT_EQ(header_error(header_of(type, flags, length, stream)) == nullptr,
                  is_valid(type, flags, length, stream))
            << "type " << type << " flags " << flags << " length " << length;
      }
}

TEST(Frame, ABadHeaderIsDescribed) {
  EXPECT_STREQ(header_error(header_of(99, 0, 0, 0)), "unknown frame type");
  EXPECT_STREQ(header_error(header_of(5, 0, 7, 1)), "frame length out of range");
  EXPECT_STREQ(header_error(header_of(5, 1, 8, 1)), "undefined frame flag");
  EXPECT_STREQ(header_error(header_of(5, 0, 8, 0)), "stream id where none belongs, or none where one does");
}

TEST(Frame, TheReliableTypesAreThoseOfTheTable) {
  for (const Row& row : kTable) EXPECT_EQ(is_reliable(static_cast<FrameType>(row.type)), row.reliable) << row.type;
}

TEST(Frame, NoControlFrameIsLongerThanWhatASessionKeeps) {
  for (const Row& row : kTable) EXPECT_TRUE(row.type == 4 || row.longest <= kMaxControl) << row.type;
}

}  // namespace
}  // namespace cloudbus
