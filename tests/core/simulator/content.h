// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "cloudbus/core/base/bytes.h"
#include "core/random.h"

namespace cloudbus {

// What a direction carries: a place in a table that is the conversation's own. The table is written twice in a row, so
// that any part of one period lies in one piece.
class Content {
 public:
  static constexpr std::size_t kPeriod = 65'521;  // a prime: no multiple of a frame or of a window

  Content() : table_(2 * kPeriod) {
    Random random(0);
    for (std::size_t i = 0; i < kPeriod; i++) table_[i] = table_[i + kPeriod] = static_cast<std::byte>(random.next());
  }
  void fill(std::byte* out, std::size_t size, std::uint64_t key, std::uint64_t offset) const {
    walk(size, key, offset, [&](const std::byte* part, std::size_t length) {
      std::memcpy(out, part, length);
      out += length;
      return true;
    });
  }
  bool matches(Bytes bytes, std::uint64_t key, std::uint64_t offset) const {
    const std::byte* in = bytes.data();
    return walk(bytes.size(), key, offset, [&](const std::byte* part, std::size_t length) {
      bool same = std::memcmp(in, part, length) == 0;
      in += length;
      return same;
    });
  }

 private:
  template <typename Visit>
  bool walk(std::size_t size, std::uint64_t key, std::uint64_t offset, Visit visit) const {
    while (size > 0) {
      std::size_t begin = (key + offset) % kPeriod, part = std::min(size, kPeriod);
      if (!visit(table_.data() + begin, part)) return false;
      size -= part;
      offset += part;
    }
    return true;
  }
  std::vector<std::byte> table_;
};

}  // namespace cloudbus
