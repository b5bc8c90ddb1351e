// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/hosts_file.h"

#include <memory>
#include <system_error>
#include <utility>

namespace cloudbus {
namespace {

constexpr std::size_t kSmall = 64 * 1024;  // bytes; they are read in less than a millisecond

std::vector<Address> loopback() {
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_addr = in6addr_loopback;
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return {Address::from_sockaddr(reinterpret_cast<sockaddr*>(&in6), sizeof in6),
          Address::from_sockaddr(reinterpret_cast<sockaddr*>(&in), sizeof in)};
}

bool is_localhost(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return name == "localhost" || name.ends_with(".localhost");
}

}  // namespace

HostsFile::~HostsFile() {
  if (reader_.joinable()) reader_.join();
}

bool HostsFile::look() {
  if (is_reading_ || !file_.look()) return false;
  if (file_.size() > kSmall) {
    read();
    return false;
  }
  std::string text = read_file(file_.path(), kSmall);
  bool is_other = !std::exchange(was_read_, true) || text != table_.text();
  if (is_other) table_ = HostsTable(std::move(text));
  return is_other;
}

void HostsFile::read() {
  if (reader_.joinable()) reader_.join();
  is_reading_ = true;
  try {
    reader_ = std::thread([this] { load(); });
  } catch (const std::system_error&) {  // no more threads: the loop waits once
    load();
  }
}

// In another thread. The table is not changed meanwhile.
void HostsFile::load() {
  std::string text = read_file(file_.path(), HostsTable::kMostText);
  std::shared_ptr<HostsTable> table;
  if (text != table_.text()) table = std::make_shared<HostsTable>(std::move(text));
  loop_.post([this, table] {
    if (table) table_ = std::move(*table);
    is_reading_ = false;
    was_read_ = true;
    on_read_(table != nullptr);
  });
}

std::vector<Address> HostsFile::find(const std::string& name) const {
  std::vector<Address> found = table_.find(name);
  return found.empty() && is_localhost(name) ? loopback() : found;
}

}  // namespace cloudbus
