// SPDX-License-Identifier: Apache-2.0
#pragma once

// The names that this machine knows by itself: /etc/hosts, and localhost (RFC 6761, section 6.3). The file is read anew
// each time.

#include <ares.h>

#include <string>
#include <vector>

#include "cloudbus/net/address.h"

namespace cloudbus {

class HostsFile {
 public:
  HostsFile();
  ~HostsFile();
  HostsFile(const HostsFile&) = delete;
  HostsFile& operator=(const HostsFile&) = delete;

  // With port 0; none if it does not know the name.
  std::vector<Address> find(const std::string& name);

 private:
  static void on_found(void* addresses, int status, int timeouts, ares_addrinfo* found);

  ares_channel channel_ = nullptr;  // which has no servers to ask
};

}  // namespace cloudbus
