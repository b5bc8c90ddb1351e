// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/srv.h"

#include <algorithm>
#include <utility>

namespace cloudbus {
namespace {

using Places = std::span<std::size_t>;

bool is_somewhere(const SrvRecord& record) { return record.target != "."; }

// In thousandths of a share.
std::uint64_t chance(const SrvRecord& record) { return record.weight == 0 ? 1 : 1000 * std::uint64_t{record.weight}; }

// Puts the records of one priority into the order in which they are drawn.
void draw_all(std::span<const SrvRecord> records, const Draw& draw, Places places) {
  std::uint64_t sum = 0;
  for (std::size_t index : places) sum += chance(records[index]);
  for (; places.size() > 1; places = places.subspan(1)) {
    std::uint64_t drawn = draw(sum);
    std::size_t chosen = 0;
    while (drawn >= chance(records[places[chosen]])) drawn -= chance(records[places[chosen++]]);
    std::swap(places[0], places[chosen]);
    sum -= chance(records[places[0]]);
  }
}

}  // namespace

bool is_no_service(std::span<const SrvRecord> records) { return records.size() == 1 && !is_somewhere(records[0]); }

std::vector<std::size_t> srv_order(std::span<const SrvRecord> records, const Draw& draw) {
  std::vector<std::size_t> order;
  for (std::size_t index = 0; index < records.size(); index++) {
    if (is_somewhere(records[index])) order.push_back(index);
  }
  auto priority = [records](std::size_t index) { return records[index].priority; };
  std::ranges::stable_sort(order, {}, priority);
  for (Places rest = order; !rest.empty();) {
    auto is_other = [&](std::size_t index) { return priority(index) != priority(rest[0]); };
    const auto equals = static_cast<std::size_t>(std::ranges::find_if(rest, is_other) - rest.begin());
    draw_all(records, draw, rest.first(equals));
    rest = rest.subspan(equals);
  }
  return order;
}

}  // namespace cloudbus
