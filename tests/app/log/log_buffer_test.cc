// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/log/log_buffer.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

const std::string kLine(100, 'x');

TEST(LogBuffer, HasALimitAndCountsWhatIsPastIt) {
  LogBuffer buffer;
  std::uint64_t taken = 0;
  while (buffer.add("one", kLine)) taken++;
  EXPECT_LE(taken * kLine.size(), LogBuffer::kMost);
  EXPECT_EQ(buffer.take_lost(), 1u);
  EXPECT_EQ(buffer.take_lost(), 0u);
}

TEST(LogBuffer, OneWhoFillsItLeavesRoomForTheOthers) {
  LogBuffer buffer;
  while (buffer.add("flood", kLine)) {
  }
  for (int i = 0; i < 1000; i++) EXPECT_TRUE(buffer.add("quiet", kLine)) << i;
}

TEST(LogBuffer, GivesTheBytesInTheirOrder) {
  LogBuffer buffer;
  buffer.add("s", "one\n");
  buffer.add("s", "two\n");
  EXPECT_EQ(buffer.rest(), "one\ntwo\n");
  buffer.on_written(5);
  EXPECT_EQ(buffer.rest(), "wo\n");
  buffer.add("s", "three\n");
  EXPECT_EQ(buffer.rest(), "wo\nthree\n");
  buffer.on_written(9);
  EXPECT_TRUE(buffer.is_empty());
}

TEST(LogBuffer, AReaderThatIsAlwaysALittleBehindLosesNothing) {
  LogBuffer buffer;
  std::string got, said;
  for (int i = 0; i < 100'000; i++) {
    std::string line = std::to_string(i) + "\n";
    ASSERT_TRUE(buffer.add("s", line));
    said += line;
    std::string_view some = buffer.rest().substr(0, buffer.rest().size() > 200 ? 7 : 3);
    got += some;
    buffer.on_written(some.size());
  }
  got += buffer.rest();
  EXPECT_EQ(got, said);
}

}  // namespace
}  // namespace cloudbus
