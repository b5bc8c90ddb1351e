// SPDX-License-Identifier: Apache-2.0
#pragma once

// The names that this host knows without DNS: /etc/hosts, and localhost (RFC 6761, section 6.3). The file is read again
// when it has changed. A large one is read in a thread of its own.

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "cloudbus/net/address.h"
#include "cloudbus/net/followed_file.h"
#include "cloudbus/net/hosts_table.h"
#include "cloudbus/net/loop.h"

namespace cloudbus {

class HostsFile {
 public:
  // `on_read` is called in the loop's thread, after a thread has read the file: whether it is another.
  HostsFile(Loop& loop, std::function<void(bool)> on_read) : loop_(loop), on_read_(std::move(on_read)) {}
  ~HostsFile();
  HostsFile(const HostsFile&) = delete;
  HostsFile& operator=(const HostsFile&) = delete;

  // One stat. True if the file was read and is another; a large one will be read.
  bool look();
  bool is_reading() const { return is_reading_; }

  // Addresses with port 0; none if the name is unknown.
  std::vector<Address> find(const std::string& name) const;

 private:
  void read();
  void load();

  Loop& loop_;
  std::function<void(bool)> on_read_;
  FollowedFile file_{"/etc/hosts"};
  HostsTable table_;
  bool is_reading_ = false, was_read_ = false;
  std::thread reader_;
};

}  // namespace cloudbus
