// SPDX-License-Identifier: Apache-2.0
#pragma once

// The event loop of one worker: libevent for readiness and timers, and turns.
//
// A turn is: wait for events, run their callbacks, then call `end_of_turn` once. What the callbacks caused is written,
// and what they ended is destroyed, at the end of the turn.

#include <event2/event.h>

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "cloudbus/core/base/time.h"
#include "cloudbus/core/policy/yield_budget.h"
#include "cloudbus/net/readiness.h"
#include "cloudbus/net/watch.h"

namespace cloudbus {

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  event_base* base() const { return base_.get(); }
  Readiness& readiness() { return readiness_; }

  // The time of this turn: the clock is read once in each turn.
  Time now();

  // Runs turns until stop().
  void run(const std::function<void()>& end_of_turn);
  void stop() { stopped_ = true; }

  // There is more to do: the next turn does not wait for events.
  void go_on() { again_ = true; }

  // From any thread: runs `task` in the loop's thread, in a later turn.
  void post(std::function<void()> task);

  // A turn begins at `deadline` at the latest; Time::max() is never. There is only one alarm.
  void set_alarm(Time deadline);

 private:
  struct BaseDeleter {
    void operator()(event_base* base) const { event_base_free(base); }
  };

  static void on_posted(int fd, short what, void* loop) noexcept;
  static void on_alarm(int fd, short what, void* loop) noexcept;
  void run_posted();
  void yield_after_turn();

  std::unique_ptr<event_base, BaseDeleter> base_;
  Readiness readiness_;
  bool stopped_ = false, again_ = false, now_is_fresh_ = false;
  Time now_{}, alarm_{Time::max()};
  YieldBudget yield_budget_;
  int posted_fd_ = -1;
  Watch posted_watch_, alarm_watch_;
  std::mutex posted_mutex_;  // guards posted_
  std::vector<std::function<void()>> posted_;
};

}  // namespace cloudbus
