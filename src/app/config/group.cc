// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/group.h"

#include <grp.h>

#include <cerrno>
#include <charconv>
#include <vector>

namespace cloudbus {
namespace {

constexpr std::size_t kLeastBuffer = 1024, kMostBuffer = std::size_t{16} << 20;  // a group may have many members

}  // namespace

SocketGroup find_group(const std::string& name) {
  group entry{};
  group* found = nullptr;
  std::vector<char> buffer(kLeastBuffer);
  while (::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) == ERANGE &&
         buffer.size() < kMostBuffer)
    buffer.resize(buffer.size() * 2);
  if (found) return {name, found->gr_gid};
  gid_t number = 0;
  const char* end = name.data() + name.size();
  auto [stop, error] = std::from_chars(name.data(), end, number);
  bool is_number = error == std::errc() && stop == end && number != static_cast<gid_t>(-1);
  return {name, is_number ? std::optional(number) : std::nullopt};
}

}  // namespace cloudbus
