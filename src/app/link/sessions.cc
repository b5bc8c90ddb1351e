// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/link/sessions.h"

namespace cloudbus {

void Sessions::add(const SessionKey& key, const Location& location) {
  std::lock_guard lock(mutex_);
  sessions_.insert_or_assign(key.id, Entry{key.secret, location});
}

void Sessions::remove(const Uuid& id) {
  std::lock_guard lock(mutex_);
  sessions_.erase(id);
}

std::optional<Sessions::Location> Sessions::find(const ResumeClaim& claim, const Proof& proof) const {
  std::optional<Entry> entry;
  {
    std::lock_guard lock(mutex_);
    if (auto found = sessions_.find(claim.session); found != sessions_.end()) entry = found->second;
  }
  bool proven = is_proven(claim, entry ? entry->secret : Secret{}, proof);
  if (!proven || !entry) return std::nullopt;
  return entry->location;
}

}  // namespace cloudbus
