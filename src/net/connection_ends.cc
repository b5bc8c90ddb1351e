// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/connection_ends.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

namespace cloudbus {
namespace {

// False for an address that has no port.
bool append(ConnectionEnds& ends, const sockaddr* name) {
  auto put = [&ends](const void* from, std::size_t bytes) {
    std::memcpy(ends.bytes.data() + ends.size, from, bytes);
    ends.size = static_cast<std::uint8_t>(ends.size + bytes);
  };
  if (name->sa_family == AF_INET) {
    const auto& in = *reinterpret_cast<const sockaddr_in*>(name);
    put(&in.sin_port, sizeof in.sin_port);
    put(&in.sin_addr, sizeof in.sin_addr);
    return true;
  }
  if (name->sa_family != AF_INET6) return false;
  const auto& in6 = *reinterpret_cast<const sockaddr_in6*>(name);
  put(&in6.sin6_port, sizeof in6.sin6_port);
  if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
    put(in6.sin6_addr.s6_addr + 12, sizeof(in_addr));
  else
    put(&in6.sin6_addr, sizeof in6.sin6_addr);
  return true;
}

ConnectionEnds ends_of(const sockaddr* connected, const sockaddr* other) {
  ConnectionEnds ends;
  if (!append(ends, connected) || !append(ends, other)) return {};
  return ends;
}

std::uint64_t own_namespace() {
  struct stat info {};
  return ::stat("/proc/self/ns/pid", &info) == 0 ? info.st_ino : 0;
}

}  // namespace

ConnectionEnds ends_of_accepted(int fd) {
  sockaddr_storage client{}, own{};
  socklen_t client_size = sizeof client, own_size = sizeof own;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&client), &client_size) != 0) return {};
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_size) != 0) return {};
  return ends_of(reinterpret_cast<sockaddr*>(&client), reinterpret_cast<sockaddr*>(&own));
}

ConnectionEnds ends_of_dialled(int fd, const Address& server) {
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  if (server.is_unix() || ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) != 0) return {};
  return ends_of(reinterpret_cast<sockaddr*>(&own), server.data());
}

std::optional<ProcessId> peer_process(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid <= 0) return std::nullopt;
  return ProcessId{static_cast<std::uint32_t>(peer.pid), own_process().pid_namespace};
}

ProcessId own_process() {
  static const std::uint64_t pid_namespace = own_namespace();
  return {static_cast<std::uint32_t>(::getpid()), pid_namespace};
}

}  // namespace cloudbus
