// SPDX-License-Identifier: Apache-2.0
#pragma once

// The names that this host knows without DNS: /etc/hosts, and localhost (RFC 6761, section 6.3). The file is read again
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

  // Addresses with port 0; none if the name is unknown.
  std::vector<Address> find(const std::string& name);

 private:
  static void on_found(void* addresses, int status, int timeouts, ares_addrinfo* found);

  ares_channel channel_ = nullptr;  // a channel without DNS servers
};

}  // namespace cloudbus
