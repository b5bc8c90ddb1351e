// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/pid_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "cloudbus/net/socket_file.h"

namespace cloudbus {
namespace {

// Returns an errno, or 0. A pipe that nobody reads is an error, and nothing to wait for.
int write_number(const std::string& path) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_CLOEXEC, 0666);
  if (fd < 0) return errno;
  std::string text = fmt::format("{}\n", ::getpid());
  ssize_t written = ::write(fd, text.data(), text.size());
  int error = written < 0 ? errno : written < static_cast<ssize_t>(text.size()) ? ENOSPC : 0;
  return ::close(fd) != 0 && error == 0 ? errno : error;
}

}  // namespace

PidFile::~PidFile() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

std::string PidFile::write(const std::string& path) {
  if (path == path_) return {};
  if (!path.empty()) {
    if (int error = write_number(path); error != 0)
      return fmt::format("cannot write the pid file {}: {}", path,
                         error == ENOENT ? missing_folder(path) : std::strerror(error));
  }
  if (!path_.empty()) ::unlink(path_.c_str());
  path_ = path;
  return {};
}

}  // namespace cloudbus
