// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/late_binds.h"

#include <algorithm>

#include "cloudbus/app/log/log.h"

namespace cloudbus {
namespace {

constexpr Duration kFirstWait = std::chrono::milliseconds(100);
constexpr Duration kMostWait = std::chrono::seconds(5);
constexpr Duration kTellEvery = std::chrono::minutes(1);
constexpr double kWholeStep = 1;  // nobody else tries at the same time: no jitter

}  // namespace

void LateBinds::add(const ServedBind& bind, const std::string& at, const std::string& error) {
  Time now = loop_.now();
  Backoff backoff(kFirstWait, kMostWait);
  Time next = now + backoff.next(kWholeStep);
  tell(late_.insert_or_assign(bind.bind.id, Late{bind, at, backoff, next, now}).first->second, error);
  arm();
}

bool LateBinds::change(const ServedBind& bind) {
  auto found = late_.find(bind.bind.id);
  if (found == late_.end()) return false;
  found->second.bind = bind;
  return true;
}

void LateBinds::on_time(int, short, void* binds) noexcept { static_cast<LateBinds*>(binds)->try_again(); }

void LateBinds::try_again() {
  Time now = loop_.now();
  for (auto entry = late_.begin(); entry != late_.end();)
    entry = try_one(entry->second, now) ? late_.erase(entry) : ++entry;
  arm();
}

// True once it listens.
bool LateBinds::try_one(Late& late, Time now) {
  if (now < late.next) return false;
  std::string error = open_(late.bind);
  if (error.empty()) return true;
  late.next = now + late.backoff.next(kWholeStep);
  if (now - late.told < kTellEvery) return false;
  late.told = now;
  tell(late, error);
  return false;
}

void LateBinds::arm() {
  timer_.stop();
  if (late_.empty()) return;
  auto by_time = [](const auto& one, const auto& other) { return one.second.next < other.second.next; };
  Time next = std::ranges::min_element(late_, by_time)->second.next;
  timer_.start_timer(loop_.base(), std::max(Duration::zero(), next - loop_.now()), on_time, this);
}

void LateBinds::tell(const Late& late, const std::string& error) {
  log_line(LogLevel::Warning, late.bind.subject, "cannot listen yet; it is tried again",
           {{"address", late.bind.bind.endpoint.to_string()}, {"at", late.at}, {"error", error}});
}

}  // namespace cloudbus
