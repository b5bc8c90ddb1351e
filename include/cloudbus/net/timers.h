// SPDX-License-Identifier: Apache-2.0
#pragma once

// Deadlines of many objects. An entry carries its owner. A deadline that passes too early is harmless: the owner that
// is woken looks at its own deadline again, so that activity need not touch anything here.

#include <functional>
#include <set>
#include <utility>

#include "cloudbus/core/base/time.h"

namespace cloudbus {

// Clears its deadline before it is destroyed.
class TimerOwner {
 public:
  // Its deadline has passed, and none is set any more.
  virtual void on_deadline(Time now) = 0;

 protected:
  ~TimerOwner() = default;
};

class Timers {
 public:
  // `armed` is the owner's own record of its deadline, Time::max() for none. It has one at most.
  void set(TimerOwner& owner, Time deadline, Time& armed) {
    if (deadline == armed) return;
    clear(owner, armed);
    if (deadline == Time::max()) return;
    queue_.emplace(deadline, &owner);
    armed = deadline;
  }

  void clear(TimerOwner& owner, Time& armed) {
    if (armed != Time::max()) queue_.erase({armed, &owner});
    armed = Time::max();
  }

  Time next() const { return queue_.empty() ? Time::max() : queue_.begin()->first; }

  // Takes out an owner whose deadline has passed, the earliest first; null when there is none. The owner sets its
  // `armed` to Time::max().
  TimerOwner* take_due(Time now) {
    if (queue_.empty() || queue_.begin()->first > now) return nullptr;
    TimerOwner* owner = queue_.begin()->second;
    queue_.erase(queue_.begin());
    return owner;
  }

 private:
  std::set<std::pair<Time, TimerOwner*>> queue_;
};

// A deadline as a member, for owners that have several, or few.
class Timer final : private TimerOwner {
 public:
  Timer(Timers& timers, std::function<void()> on_due) : timers_(timers), on_due_(std::move(on_due)) {}
  ~Timer() { clear(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void set(Time deadline) { timers_.set(*this, deadline, armed_); }
  void clear() { timers_.clear(*this, armed_); }
  Time deadline() const { return armed_; }  // Time::max() for none
  bool is_set() const { return armed_ != Time::max(); }

 private:
  void on_deadline(Time) override {
    armed_ = Time::max();
    on_due_();
  }

  Timers& timers_;
  std::function<void()> on_due_;
  Time armed_ = Time::max();
};

}  // namespace cloudbus
