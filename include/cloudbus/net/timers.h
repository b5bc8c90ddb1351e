// SPDX-License-Identifier: Apache-2.0
#pragma once

// Deadlines of many objects, by number. A deadline that passes too early is harmless: the object looks at its own
// deadline again. So activity need not change anything here.

#include <cstdint>
#include <set>
#include <utility>

#include "cloudbus/core/base/time.h"

namespace cloudbus {

class Timers {
 public:
  using Key = std::uint64_t;

  // `armed` is the caller's own record of what is set for `key`, Time::max() for nothing.
  void set(Key key, Time deadline, Time& armed) {
    if (deadline == armed) return;
    clear(key, armed);
    if (deadline == Time::max()) return;
    queue_.emplace(deadline, key);
    armed = deadline;
  }

  void clear(Key key, Time& armed) {
    if (armed != Time::max()) queue_.erase({armed, key});
    armed = Time::max();
  }

  Time next() const { return queue_.empty() ? Time::max() : queue_.begin()->first; }

  // Takes one key whose deadline has passed; false when there is none. The caller then sets `armed` to Time::max().
  bool take_due(Time now, Key& key) {
    if (queue_.empty() || queue_.begin()->first > now) return false;
    key = queue_.begin()->second;
    queue_.erase(queue_.begin());
    return true;
  }

 private:
  std::set<std::pair<Time, Key>> queue_;
};

}  // namespace cloudbus
