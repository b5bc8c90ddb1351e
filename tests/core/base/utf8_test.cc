// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace cloudbus {
namespace {

void expect_character(std::string_view text, std::size_t size, char32_t code) {
  Utf8Character found = utf8_character(text);
  EXPECT_EQ(found.size, size) << text;
  EXPECT_EQ(found.code, code) << text;
}

TEST(Utf8, ACharacterHasOneToFourBytes) {
  expect_character("a", 1, 'a');
  expect_character(std::string_view("\0", 1), 1, 0);
  expect_character("\xc2\x80", 2, 0x80);
  expect_character("\xdf\xbf and more", 2, 0x7ff);
  expect_character("\xe0\xa0\x80", 3, 0x800);
  expect_character("\xef\xbf\xbf", 3, 0xffff);
  expect_character("\xf0\x90\x80\x80", 4, 0x10000);
  expect_character("\xf4\x8f\xbf\xbf", 4, 0x10ffff);
}

TEST(Utf8, WhatIsNoCharacterHasNoSize) {
  for (std::string_view bad : {
           "\x80", "\xbf", "\xff",                                              // none begins like this
           "\xc3", "\xe2\x82", "\xf0\x9f",                                      // not all of it
           "\xc3(", "\xe2(\x82",                                                // something else within it
           "\xc0\x80", "\xc1\xbf",                                              // longer than it must be
           "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xed\xa0\x80", "\xed\xbf\xbf",  // halves of surrogate pairs
           "\xf4\x90\x80\x80", "\xf5\x80\x80",                                  // above U+10FFFF
       })
    expect_character(bad, 0, 0);
}

TEST(Utf8, ControlCharactersAreThoseOfAsciiAndLatin1) {
  for (char32_t code : {0x00, 0x1f, 0x7f, 0x80, 0x9f}) EXPECT_TRUE(is_control(code));
  for (char32_t code : {0x20, 0x7e, 0xa0, 0x2028}) EXPECT_FALSE(is_control(code));
}

}  // namespace
}  // namespace cloudbus
