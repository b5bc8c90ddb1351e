// SPDX-License-Identifier: Apache-2.0
#pragma once

// The processes of this machine that are, or may be, the daemon of a configuration file, and the sockets that they
// hold. It looks at /proc, and needs no rights: what it may not see counts as "may be".

#include <sys/types.h>

#include <string>
#include <vector>

#include "cloudbus/core/wire/codes.h"
#include "cloudbus/net/address.h"

namespace cloudbus {

class RunningDaemons {
 public:
  // `pid_file` may be empty.
  RunningDaemons(Role role, const std::string& file, const std::string& pid_file);

  // Whether one of them may be the process that listens at an address.
  bool may_hold(const Endpoint& endpoint) const;

 private:
  std::vector<pid_t> pids_;
  bool sees_all_ = true;  // false where the processes of other users are hidden
};

// Whether a process listens at the address of a Unix socket. Nothing connects to it, so that its daemon has nothing to
// log.
bool is_listening(const Endpoint& endpoint);

// The file that a daemon's command line names, or `by_default`.
std::string file_of_command(const std::vector<std::string>& command, const std::string& by_default);

}  // namespace cloudbus
