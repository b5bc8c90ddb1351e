// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/log/client_name.h"

#include <sys/socket.h>

namespace cloudbus {
namespace {

constexpr std::string_view kMapped = "[::ffff:";  // RFC 4291, section 2.5.5.2

}  // namespace

std::string client_name(int fd, const Address& address) {
  std::string name = address.to_string();
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!address.is_unix() || ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return name;
  if (!name.ends_with(':')) name += ':';
  return name + "uid:" + std::to_string(peer.uid);
}

std::string server_name(const Endpoint& endpoint) {
  bool has_address = !endpoint.is_builtin() && !endpoint.is_name();
  return has_address ? endpoint.address.to_string() : endpoint.to_string();
}

std::string_view hash_key(std::string_view client_name) {
  if (client_name.starts_with("unix:")) {
    std::size_t user = client_name.rfind("uid:");
    return user == std::string_view::npos ? client_name : client_name.substr(user);
  }
  std::string_view host = client_name.substr(0, client_name.rfind(':'));
  if (!host.starts_with(kMapped) || host.find('.') == std::string_view::npos) return host;
  return host.substr(kMapped.size(), host.size() - kMapped.size() - 1);
}

}  // namespace cloudbus
