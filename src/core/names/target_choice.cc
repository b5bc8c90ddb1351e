// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/target_choice.h"

#include <algorithm>

namespace cloudbus {

std::vector<std::size_t> TargetChoice::order(std::span<const std::uint32_t> record_of,
                                             std::span<const SrvRecord> records, const Draw& draw) {
  std::vector<std::size_t> result;
  std::size_t turn = turn_++;
  auto add_in_turn = [&](auto is_wanted) {
    std::size_t first = result.size();
    for (std::size_t index = 0; index < record_of.size(); index++)
      if (is_wanted(record_of[index])) result.push_back(index);
    std::size_t count = result.size() - first;
    if (count > 1) std::rotate(result.begin() + first, result.begin() + first + turn % count, result.end());
  };
  if (records.empty()) {
    add_in_turn([](std::uint32_t) { return true; });
    return result;
  }
  for (std::size_t record : srv_order(records, draw)) add_in_turn([record](std::uint32_t of) { return of == record; });
  return result;
}

}  // namespace cloudbus
