// SPDX-License-Identifier: Apache-2.0
#pragma once

// Reads the configuration in a thread of its own, as files may be slow and large, and compares it with the one that is
// in force.

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "cloudbus/app/config/diff.h"
#include "cloudbus/app/program/options.h"
#include "cloudbus/net/loop.h"

namespace cloudbus {

// What the file says, and what the command line says of it, which wins.
ConfigResult read_config(Role role, const Options& options);

class Reload {
 public:
  // Either what is different, or what is wrong.
  using Outcome = std::variant<ConfigDiff, std::vector<std::string>>;
  using OnRead = std::function<void(const Outcome&)>;

  // `on_read` is called in the loop's thread.
  Reload(Loop& loop, Role role, const Options& options, OnRead on_read);
  ~Reload();
  Reload(const Reload&) = delete;
  Reload& operator=(const Reload&) = delete;

  // Begins, unless one is under way: then another one follows when that is done(), as the file may have changed since
  // it was read. False in that case.
  bool start(std::shared_ptr<const Config> in_force);
  // What was read is in force, or was refused. True when another one is to be started.
  bool done();
  bool is_under_way() const { return is_under_way_; }

 private:
  Loop& loop_;
  Role role_;
  const Options& options_;
  OnRead on_read_;
  std::thread reader_;
  bool is_under_way_ = false, is_asked_again_ = false;
};

}  // namespace cloudbus
