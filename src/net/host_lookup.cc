// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/host_lookup.h"

#include <algorithm>
#include <utility>

namespace cloudbus {
namespace {

constexpr std::array<int, 2> kFamilies = {AF_INET, AF_INET6};

}  // namespace

void HostLookup::on_answer(Family family, DnsAnswer<HostRecord> answer, Time now) {
  if (auto* absence = std::get_if<DnsAbsence>(&answer)) {
    absence_.has_name |= absence->has_name;
    if (absence_.ttl == Duration::zero() || (absence->ttl > Duration::zero() && absence->ttl < absence_.ttl))
      absence_.ttl = absence->ttl;
  }
  if (std::holds_alternative<DnsRecords<HostRecord>>(answer)) part_at_ = std::min(part_at_, now + kResolutionDelay);
  halves_[static_cast<std::size_t>(family)] = std::move(answer);
  if (!halves_[0] || !halves_[1]) return;
  state_ = State::Over;
  auto is_absence = [](const Half& half) { return std::holds_alternative<DnsAbsence>(*half); };
  if (!std::ranges::all_of(halves_, is_absence) || at_ + 1 == names_.size()) return;
  at_++;
  halves_ = {};
  state_ = State::Asking;
}

HostLookup::Result HostLookup::result() const {
  DnsRecords<HostRecord> all{{}, Duration::max()};
  std::optional<DnsFailure> failure;
  int unknown = AF_UNSPEC;
  for (std::size_t family = 0; family < halves_.size(); family++) {
    const Half& half = halves_[family];
    if (half && std::holds_alternative<DnsAbsence>(*half)) continue;
    if (half && std::holds_alternative<DnsRecords<HostRecord>>(*half)) {
      const auto& found = std::get<DnsRecords<HostRecord>>(*half);
      all.records.insert(all.records.end(), found.records.begin(), found.records.end());
      all.ttl = std::min(all.ttl, found.ttl);
      continue;
    }
    unknown = kFamilies[family];
    failure = half ? std::get<DnsFailure>(*half) : DnsFailure{"no answer in time"};
  }
  if (!all.records.empty()) return {std::move(all), unknown};
  if (failure) return {*failure};
  return {absence_};
}

}  // namespace cloudbus
