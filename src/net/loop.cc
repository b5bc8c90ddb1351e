// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/loop.h"

#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace cloudbus {
namespace {

constexpr int kBusy = 2;  // sockets that were ready in a turn

Time read_clock() { return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now()); }

}  // namespace

Loop::Loop() {
  event_config* config = event_config_new();
  event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
  base_.reset(event_base_new_with_config(config));
  event_config_free(config);
  posted_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (!base_ || posted_fd_ < 0) throw std::system_error(errno, std::generic_category(), "cannot make an event loop");
  readiness_.start(base());
  posted_watch_.start(base(), posted_fd_, EV_READ | EV_PERSIST, on_posted, this);
}

Loop::~Loop() {
  posted_watch_.stop();
  alarm_watch_.stop();
  ::close(posted_fd_);
}

Time Loop::now() {
  if (!std::exchange(now_is_fresh_, true)) now_ = read_clock();
  return now_;
}

void Loop::run(const std::function<void()>& end_of_turn) {
  while (!stopped_) {
    bool wait = !std::exchange(again_, false);
    if (readiness_.take_count() >= kBusy && wait) yield_after_turn();
    now_is_fresh_ = false;
    event_base_loop(base(), EVLOOP_ONCE | (wait ? 0 : EVLOOP_NONBLOCK));
    end_of_turn();
  }
}

// doc/benchmarks.md, What helped.
void Loop::yield_after_turn() {
  Time ended = read_clock();
  if (!yield_budget_.on_turn(ended, ended - now_)) return;
  sched_yield();
  Time back = read_clock();
  yield_budget_.on_back(back, back - ended);
}

void Loop::post(std::function<void()> task) {
  bool was_empty;
  {
    std::lock_guard lock(posted_mutex_);
    was_empty = posted_.empty();
    posted_.push_back(std::move(task));
  }
  if (was_empty) eventfd_write(posted_fd_, 1);
}

void Loop::on_posted(int, short, void* loop) noexcept { static_cast<Loop*>(loop)->run_posted(); }

void Loop::run_posted() {
  eventfd_t count;
  eventfd_read(posted_fd_, &count);
  std::vector<std::function<void()>> tasks;
  {
    std::lock_guard lock(posted_mutex_);
    tasks.swap(posted_);
  }
  for (auto& task : tasks) task();
}

void Loop::set_alarm(Time deadline) {
  if (deadline == alarm_) return;
  alarm_ = deadline;
  alarm_watch_.stop();
  if (deadline == Time::max()) return;
  alarm_watch_.start_timer(base(), std::max(Duration{0}, deadline - now()), on_alarm, this);
}

void Loop::on_alarm(int, short, void* argument) noexcept {
  auto* loop = static_cast<Loop*>(argument);
  loop->alarm_watch_.stop();
  loop->alarm_ = Time::max();
}

}  // namespace cloudbus
