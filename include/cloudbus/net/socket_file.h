// SPDX-License-Identifier: Apache-2.0
#pragma once

// The file of a Unix socket: who may connect, and what stands at its path already. Errors are texts; empty is none.

#include <sys/types.h>

#include <optional>
#include <string>

#include "cloudbus/net/address.h"

namespace cloudbus {

struct SocketAccess {
  mode_t mode = 0;
  std::optional<gid_t> group{};  // the one that the file is made with, unless set
};

// Removes a stale socket file, so that the path can be bound.
std::string clear_socket_path(const Address& address);

// Binds; the file never allows more than asked for, not even for a moment.
std::string bind_socket_file(int fd, const Address& address, const SocketAccess& access);

std::string set_socket_access(const std::string& path, const SocketAccess& access);

// What to say of a file that cannot be made since its folder does not exist.
std::string missing_folder(const std::string& path);

}  // namespace cloudbus
