// SPDX-License-Identifier: Apache-2.0
#pragma once

// The listening sockets that systemd opened and passed to the process: sd_listen_fds(3). They stay open until close(),
// since a reload may name them again.

#include <string>
#include <string_view>
#include <vector>

namespace cloudbus {

class PassedSockets {
 public:
  // Takes what LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES tell of, and removes the variables. Before there are other
  // threads, and before the process opens anything.
  PassedSockets();
  ~PassedSockets() { close(); }
  PassedSockets(const PassedSockets&) = delete;
  PassedSockets& operator=(const PassedSockets&) = delete;

  // All descriptors that were passed under a name; they are not the caller's.
  std::vector<int> named(std::string_view name) const;
  // Each once.
  std::vector<std::string> names() const;
  // What is wrong with what was passed, for the log.
  const std::vector<std::string>& problems() const { return problems_; }
  // Whoever passed them still has them.
  void close();

 private:
  struct Passed {
    std::string name;
    int fd;
  };

  void take(int fd, const std::string& name);

  std::vector<Passed> passed_;
  std::vector<std::string> problems_;
};

}  // namespace cloudbus
