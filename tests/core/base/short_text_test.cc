// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/base/short_text.h"

#include <gtest/gtest.h>

#include <string>

namespace cloudbus {
namespace {

TEST(ShortTextTest, IsWhatItWasGiven) {
  for (std::size_t length : {0u, 1u, 16u, 127u, 128u, 254u, 255u}) {
    std::string text(length, 'x');
    EXPECT_EQ(ShortText(text).view(), text);
  }
  EXPECT_EQ(ShortText(std::string_view("a\0b", 3)).view(), std::string_view("a\0b", 3));
}

TEST(ShortTextTest, IsCutWhereItIsLonger) {
  EXPECT_EQ(ShortText(std::string(256, 'x')).view(), std::string(255, 'x'));
  EXPECT_EQ(ShortText(std::string(1000, 'x')).view(), std::string(255, 'x'));
}

}  // namespace
}  // namespace cloudbus
