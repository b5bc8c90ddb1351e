// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string_view>

namespace cloudbus {

// A constant text for objects that are very many: one pointer, to a byte of length and the bytes of the text.
class ShortText {
 public:
  static constexpr std::size_t kMost = 255;  // bytes; a longer text is cut

  explicit ShortText(std::string_view text) {
    text = text.substr(0, kMost);
    bytes_ = std::make_unique_for_overwrite<char[]>(1 + text.size());
    bytes_[0] = static_cast<char>(text.size());
    std::ranges::copy(text, &bytes_[1]);
  }

  std::string_view view() const { return {&bytes_[1], static_cast<unsigned char>(bytes_[0])}; }

 private:
  std::unique_ptr<char[]> bytes_;
};

}  // namespace cloudbus
