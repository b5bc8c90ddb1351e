// SPDX-License-Identifier: Apache-2.0
#pragma once

// A group of users, by which a socket file is shared.

#include <sys/types.h>

#include <optional>
#include <string>

namespace cloudbus {

struct SocketGroup {
  std::string name;         // empty: the daemon's own
  std::optional<gid_t> id;  // what the host says of the name; nothing where it does not know it

  bool operator==(const SocketGroup&) const = default;
};

// By its name, or its number. May wait for whoever knows the host's groups, so not for a loop.
SocketGroup find_group(const std::string& name);

}  // namespace cloudbus
