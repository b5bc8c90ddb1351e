// SPDX-License-Identifier: Apache-2.0
#pragma once

// The file that holds the number of this process, for as long as it runs.

#include <string>

namespace cloudbus {

class PidFile {
 public:
  PidFile() = default;
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;
  ~PidFile();

  // Writes it, and removes the one that was written before; an empty path is none. Returns what went wrong, or nothing;
  // then the old one stays.
  std::string write(const std::string& path);

 private:
  std::string path_;
};

}  // namespace cloudbus
