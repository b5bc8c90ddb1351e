// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/followed_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <utility>

namespace cloudbus {
namespace {

constexpr std::int64_t kNanos = 1'000'000'000;
// The kernel's clock for files has steps of up to 10 ms: within one, two changes have the same time.
constexpr std::int64_t kYoung = kNanos / 20;

std::int64_t nanos(const timespec& time) { return time.tv_sec * kNanos + time.tv_nsec; }

}  // namespace

bool FollowedFile::look() {
  std::optional<Stamp> stamp;
  struct stat found {};
  if (::stat(path_.c_str(), &found) == 0)
    stamp = Stamp{found.st_dev, found.st_ino, found.st_size, nanos(found.st_mtim), nanos(found.st_ctim)};
  bool may_differ = !is_known_ || is_young_ || stamp != stamp_;
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  is_known_ = true;
  is_young_ = stamp && std::abs(nanos(now) - stamp->changed) < kYoung;
  stamp_ = stamp;
  return may_differ;
}

std::string read_file(const std::string& path, std::size_t most) {
  std::string text;
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // it may be a FIFO
  if (fd < 0) return text;
  struct stat found {};
  if (::fstat(fd, &found) == 0 && S_ISREG(found.st_mode)) {
    text.resize(std::min(most, static_cast<std::size_t>(found.st_size) + 1));
    std::size_t size = 0;
    while (size < text.size()) {
      ssize_t count = ::read(fd, text.data() + size, text.size() - size);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) break;
      size += static_cast<std::size_t>(count);
      if (size == text.size()) text.resize(std::min(most, 2 * size));  // it grows
    }
    text.resize(size);
  }
  ::close(fd);
  return text;
}

}  // namespace cloudbus
