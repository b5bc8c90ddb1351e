// SPDX-License-Identifier: Apache-2.0
#pragma once

// The flags of a command line. controller(8) and segment(8) tell what each means.

#include <optional>
#include <string>

#include "cloudbus/app/config/config.h"
#include "cloudbus/core/wire/codes.h"

namespace cloudbus {

struct Options {
  std::string file;
  bool check = false;  // -t
  bool print = false;  // -T
  std::optional<LogLevel> log_level;
  std::optional<std::string> pid_file;
};

// Without options the program is over: its message is printed, and it exits with `exit_code`.
struct OptionsResult {
  std::optional<Options> options;
  int exit_code = 0;
};

std::string default_file(Role role);
OptionsResult parse_options(Role role, int argc, char** argv);

}  // namespace cloudbus
