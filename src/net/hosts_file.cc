// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/hosts_file.h"

namespace cloudbus {

HostsFile::HostsFile() {
  char files_only[] = "f";
  ares_options options{};
  options.lookups = files_only;
  if (ares_init_options(&channel_, &options, ARES_OPT_LOOKUPS) != ARES_SUCCESS) channel_ = nullptr;
}

HostsFile::~HostsFile() {
  if (channel_) ares_destroy(channel_);
}

std::vector<Address> HostsFile::find(const std::string& name) {
  std::vector<Address> addresses;
  if (!channel_) return addresses;
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = ARES_AI_NOSORT;
  ares_getaddrinfo(channel_, name.c_str(), nullptr, &hints, on_found, &addresses);  // calls back at once
  return addresses;
}

void HostsFile::on_found(void* argument, int status, int, ares_addrinfo* found) {
  auto& addresses = *static_cast<std::vector<Address>*>(argument);
  if (status == ARES_SUCCESS && found)
    for (ares_addrinfo_node* node = found->nodes; node; node = node->ai_next)
      addresses.push_back(Address::from_sockaddr(node->ai_addr, node->ai_addrlen));
  if (found) ares_freeaddrinfo(found);
}

}  // namespace cloudbus
