// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/pid_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace cloudbus {

PidFile::~PidFile() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

std::string PidFile::write(const std::string& path) {
  if (path == path_) return {};
  if (!path.empty()) {
    std::ofstream file(path, std::ios::trunc);
    file << ::getpid() << '\n';
    file.close();
    if (!file) return fmt::format("cannot write the pid file {}: {}", path, std::strerror(errno));
  }
  if (!path_.empty()) ::unlink(path_.c_str());
  path_ = path;
  return {};
}

}  // namespace cloudbus
