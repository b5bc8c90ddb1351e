// SPDX-License-Identifier: Apache-2.0
#pragma once

// A thread's whole world: its loop, its links, its conversations, and the one order of a turn. Workers share nothing;
// post() is the one door between them.

#include <functional>
#include <memory>

#include "cloudbus/app/link/links.h"
#include "cloudbus/app/names/directory.h"
#include "cloudbus/app/roster/context.h"
#include "cloudbus/app/roster/roster.h"
#include "cloudbus/app/worker/role_logic.h"

namespace cloudbus {

class Worker final : public Context {
 public:
  // With a configuration that has no services: apply() brings them.
  Worker(std::shared_ptr<const Config> config, Shared& shared, std::size_t index);
  ~Worker();

  // Before apply().
  void set_role(std::unique_ptr<RoleLogic> role);
  RoleLogic& role() { return *role_; }
  Roster& roster() { return roster_; }
  Links& links() { return links_; }
  Directory& directory() { return directory_; }

  // Takes another configuration: what is different is done at once.
  void apply(const ConfigDiff& diff);

  // Runs in the calling thread until the worker was drained or ended.
  void run();
  // From any thread.
  void post(std::function<void()> task) { loop().post(std::move(task)); }

  // Ends with the conversations: those that are left at `deadline` are reset. `on_done` is called in this thread.
  void drain(Time deadline, std::function<void()> on_done);
  bool is_draining() const { return draining_; }
  // Ends at once: what is left is reset.
  void end_now();

 private:
  void end_turn();
  void check_drained();
  void look_at_crowd();
  void abort_everything();
  void give_memory_back();

  Roster roster_{*this};
  Links links_{*this, roster_};
  Directory directory_{*this};
  std::unique_ptr<RoleLogic> role_;

  std::size_t crowd_ = 0;                                       // the most conversations since the heap was trimmed
  Timer trim_timer_{timers(), [this] { give_memory_back(); }};  // set after a crowd
  bool draining_ = false;
  Time drain_deadline_ = Time::max();
  Timer drain_timer_{timers(), [] {}};  // check_drained() looks at the time
  Timer log_timer_{timers(), [] {}};    // the end of the turn writes the log
  std::function<void()> on_drained_;
};

}  // namespace cloudbus
