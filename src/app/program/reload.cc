// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/reload.h"

#include <utility>

namespace cloudbus {

ConfigResult read_config(Role role, const Options& options) {
  ConfigResult result = load_config(role, options.file);
  if (!result.config) return result;
  if (options.log_level) result.config->log_level = *options.log_level;
  if (options.pid_file) result.config->pid_file = *options.pid_file;
  return result;
}

Reload::Reload(Loop& loop, Role role, const Options& options, OnRead on_read)
    : loop_(loop), role_(role), options_(options), on_read_(std::move(on_read)) {}

Reload::~Reload() {
  if (reader_.joinable()) reader_.join();
}

bool Reload::start(std::shared_ptr<const Config> in_force) {
  if (std::exchange(is_under_way_, true)) {
    is_asked_again_ = true;
    return false;
  }
  if (reader_.joinable()) reader_.join();
  reader_ = std::thread([this, in_force = std::move(in_force)]() mutable {
    auto outcome = std::make_shared<Outcome>();
    ConfigResult result = read_config(role_, options_);
    if (result.config) {
      *outcome = compare(std::move(in_force), std::move(*result.config));
    } else {
      *outcome = std::move(result.errors);
    }
    loop_.post([this, outcome] { on_read_(*outcome); });
  });
  return true;
}

bool Reload::done() {
  is_under_way_ = false;
  return std::exchange(is_asked_again_, false);
}

}  // namespace cloudbus
