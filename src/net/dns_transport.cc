// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/dns_transport.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

namespace cloudbus {
namespace {

constexpr std::size_t kPrefix = 8;  // bytes
constexpr in6_addr kNowhere = {{{0x01}}};

// `index`: of the server in its list.
in6_addr stand_in(std::size_t index) {
  in6_addr address = kNowhere;
  auto number = static_cast<std::uint32_t>(index);
  std::memcpy(&address.s6_addr[kPrefix], &number, sizeof number);
  return address;
}

bool is_stand_in(const sockaddr_in6& address) {
  return address.sin6_family == AF_INET6 && std::memcmp(&address.sin6_addr, &kNowhere, kPrefix) == 0;
}

std::size_t index_of(const sockaddr_in6& address) {
  std::uint32_t number = 0;
  std::memcpy(&number, &address.sin6_addr.s6_addr[kPrefix], sizeof number);
  return number;
}

ares_addr_port_node node_of(const NameServer& server, std::size_t index) {
  ares_addr_port_node node{};
  node.family = server.address.family();
  node.udp_port = node.tcp_port = server.address.port();
  if (node.family == AF_INET) {
    node.addr.addr4 = reinterpret_cast<const sockaddr_in*>(server.address.data())->sin_addr;
  } else {
    in6_addr address =
        server.zone.empty() ? reinterpret_cast<const sockaddr_in6*>(server.address.data())->sin6_addr : stand_in(index);
    std::memcpy(&node.addr.addr6, &address, sizeof node.addr.addr6);
  }
  return node;
}

}  // namespace

const ares_socket_functions DnsTransport::kFunctions = {open, close, connect, receive, send};

int DnsTransport::use(ares_channel channel, std::vector<NameServer> servers) {
  servers_ = std::move(servers);
  ares_set_socket_functions(channel, &kFunctions, this);
  if (servers_.empty()) return ARES_SUCCESS;
  std::vector<ares_addr_port_node> nodes;
  for (std::size_t index = 0; index < servers_.size(); index++) nodes.push_back(node_of(servers_[index], index));
  for (std::size_t index = 1; index < nodes.size(); index++) nodes[index - 1].next = &nodes[index];
  return ares_set_servers_ports(channel, nodes.data());
}

ares_socket_t DnsTransport::open(int family, int type, int protocol, void*) noexcept {
  int fd = ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  int on = 1;
  if (fd >= 0 && type == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

int DnsTransport::close(ares_socket_t socket, void* transport) noexcept {
  static_cast<DnsTransport*>(transport)->stand_ins_.erase(socket);
  return ::close(socket);
}

int DnsTransport::connect(ares_socket_t socket, const sockaddr* to, ares_socklen_t size, void* transport) noexcept {
  auto& self = *static_cast<DnsTransport*>(transport);
  sockaddr_in6 in6{};
  std::memcpy(&in6, to, std::min<std::size_t>(size, sizeof in6));
  if (!is_stand_in(in6) || index_of(in6) >= self.servers_.size()) return ::connect(socket, to, size);
  auto server = self.servers_[index_of(in6)].scoped();
  if (!server) {
    errno = ENODEV;
    return -1;
  }
  self.stand_ins_[socket] = in6;
  return ::connect(socket, reinterpret_cast<const sockaddr*>(&*server), sizeof *server);
}

// c-ares compares where an answer comes from with where its question went. The socket is connected: it comes from
// there.
ares_ssize_t DnsTransport::receive(ares_socket_t socket, void* buffer, size_t size, int flags, sockaddr* from,
                                   ares_socklen_t* from_size, void* transport) noexcept {
  auto& self = *static_cast<DnsTransport*>(transport);
  ares_ssize_t received = ::recvfrom(socket, buffer, size, flags, from, from_size);
  auto found = self.stand_ins_.find(socket);
  if (received >= 0 && from && from_size && found != self.stand_ins_.end())
    std::memcpy(from, &found->second, std::min<std::size_t>(*from_size, sizeof found->second));
  return received;
}

ares_ssize_t DnsTransport::send(ares_socket_t socket, const iovec* parts, int count, void*) noexcept {
  return ::writev(socket, parts, count);
}

}  // namespace cloudbus
