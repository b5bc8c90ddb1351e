// SPDX-License-Identifier: Apache-2.0
#pragma once

// Lines of the log that are not written yet. Their reader may be stuck, so there is a bound; past it lines are counted
// instead of kept. One who logs very much leaves room for the others: no subject may hold more than is free.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace cloudbus {

class LogBuffer {
 public:
  static constexpr std::size_t kMost = std::size_t{1} << 20;  // bytes

  // False when there is no room for it: then it is counted.
  bool add(std::string_view subject, std::string_view line);

  bool is_empty() const { return written_ == bytes_.size(); }
  // From the first byte that is not written.
  std::string_view rest() const { return std::string_view(bytes_).substr(written_); }
  void on_written(std::size_t bytes);
  // Nobody will ever read the rest.
  void drop_all();

  // How many lines were dropped since the last call.
  std::uint64_t take_lost();

 private:
  std::string bytes_;
  std::size_t written_ = 0;  // of bytes_
  std::uint64_t lost_ = 0;
  std::unordered_map<std::string, std::size_t> held_;  // by subject, since it was empty; while the reader is slow
};

}  // namespace cloudbus
