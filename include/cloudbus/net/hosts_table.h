// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a text in the form of hosts(5) says. A hash and the place of its line are kept for each name, so that large
// files take little more memory than their text.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cloudbus/net/address.h"

namespace cloudbus {

class HostsTable {
 public:
  static constexpr std::size_t kMostText = 0xFFFFFFFF;  // bytes

  HostsTable() = default;
  explicit HostsTable(std::string text);

  const std::string& text() const { return text_; }
  // The addresses of the lines with this name, in their order, with port 0. Letters have no case.
  std::vector<Address> find(std::string_view name) const;

 private:
  struct Entry {
    std::uint32_t hash, line;  // where it begins
    auto operator<=>(const Entry&) const = default;
  };

  std::string text_;
  std::vector<Entry> entries_;  // sorted
};

}  // namespace cloudbus
