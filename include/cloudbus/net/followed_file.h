// SPDX-License-Identifier: Apache-2.0
#pragma once

// A file of the system that others change while the daemon runs, such as /etc/resolv.conf.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace cloudbus {

class FollowedFile {
 public:
  explicit FollowedFile(std::string path) : path_(std::move(path)) {}

  // One stat: whether the file may be another than at the last look, which it is at the first.
  bool look();

  const std::string& path() const { return path_; }
  // In bytes, at the last look; 0 if it was missing.
  std::size_t size() const { return stamp_ ? static_cast<std::size_t>(stamp_->size) : 0; }

 private:
  struct Stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    std::int64_t modified, changed;  // in ns since 1970
    bool operator==(const Stamp&) const = default;
  };

  std::string path_;
  bool is_known_ = false;
  bool is_young_ = false;  // it may be changed again without another stamp
  std::optional<Stamp> stamp_;
};

// The first `most` bytes of a regular file; nothing if it cannot be read.
std::string read_file(const std::string& path, std::size_t most);

}  // namespace cloudbus
