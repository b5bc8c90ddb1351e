// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/listener.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "cloudbus/net/socket_error.h"
#include "cloudbus/net/socket_file.h"
#include "cloudbus/net/socket_options.h"

namespace cloudbus {
namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr Duration kPause = std::chrono::milliseconds(100);  // when descriptors ran out

std::string with_error(std::string_view what) { return fmt::format("{}: {}", what, std::strerror(errno)); }

// Also an address that the host does not have yet, `is_absent`: connections come once it has.
int bind_freely(int fd, const Address& address, bool& is_absent) {
  if (::bind(fd, address.data(), address.size()) == 0) return 0;
  if (errno != EADDRNOTAVAIL || address.is_unix()) return -1;
  int on = 1;
  int result = address.family() == AF_INET6 ? ::setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on)
                                            : ::setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
  if (result != 0) errno = EADDRNOTAVAIL;
  is_absent = result == 0 && ::bind(fd, address.data(), address.size()) == 0;
  return is_absent ? 0 : -1;
}

Address own_address(int fd) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0) return {};
  return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&name), size);
}

int socket_option(int fd, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

}  // namespace

bool is_listening_stream(int fd) {
  int family = socket_option(fd, SO_DOMAIN);
  bool is_known = family == AF_INET || family == AF_INET6 || family == AF_UNIX;
  return is_known && socket_option(fd, SO_TYPE) == SOCK_STREAM && socket_option(fd, SO_ACCEPTCONN) == 1;
}

std::variant<ListeningSocket, std::string> ListeningSocket::open(const Endpoint& endpoint, const SocketAccess& access) {
  std::optional<Address> known = endpoint.address.in_its_zone();
  if (!known) return with_error("cannot listen");
  const Address& address = *known;
  bool has_file = endpoint.kind == Endpoint::Kind::Unix;
  if (has_file)
    if (std::string error = clear_socket_path(address); !error.empty()) return error;
  int fd = ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return with_error("cannot make a socket");
  prepare_socket(fd, address);
  if (!address.is_unix()) {
    int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.family() == AF_INET6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  bool is_absent = false;
  std::string error;
  if (has_file)
    error = bind_socket_file(fd, address, access);
  else if (bind_freely(fd, address, is_absent) != 0)
    error = with_error("cannot listen");
  if (error.empty() && ::listen(fd, SOMAXCONN) != 0) error = with_error("cannot listen");
  if (!error.empty()) {
    ::close(fd);
    return error;
  }
  ListeningSocket made(fd, endpoint);
  if (endpoint.kind == Endpoint::Kind::Tcp) made.endpoint_.address = endpoint.address.with_port(own_address(fd).port());
  made.is_absent_ = is_absent;
  made.note_file();
  return made;
}

std::variant<ListeningSocket, std::string> ListeningSocket::adopt(int passed) {
  int fd = ::fcntl(passed, F_DUPFD_CLOEXEC, 0);
  if (fd < 0 || ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
    std::string error = with_error("cannot take the socket over");
    if (fd >= 0) ::close(fd);
    return error;
  }
  Address address = own_address(fd);
  prepare_socket(fd, address);
  return ListeningSocket(fd, Endpoint::of(address));
}

void ListeningSocket::note_file() {
  struct stat info;
  if (endpoint_.kind != Endpoint::Kind::Unix || ::lstat(endpoint_.address.path().c_str(), &info) != 0) return;
  device_ = info.st_dev;
  inode_ = info.st_ino;
}

ListeningSocket::ListeningSocket(ListeningSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      endpoint_(std::move(other.endpoint_)),
      is_absent_(other.is_absent_),
      device_(other.device_),
      inode_(other.inode_) {}

std::string ListeningSocket::set_access(const SocketAccess& access) const {
  return endpoint_.kind == Endpoint::Kind::Unix ? set_socket_access(endpoint_.address.path(), access) : std::string();
}

ListeningSocket::~ListeningSocket() {
  if (fd_ < 0) return;
  struct stat info;
  std::string path = endpoint_.address.path();
  if (inode_ != 0 && ::lstat(path.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_)
    ::unlink(path.c_str());
  ::close(fd_);
}

Listener::Listener(Loop& loop, ListeningSocket socket, OnAccept on_accept, OnPause on_pause, MayAccept may_accept)
    : loop_(loop),
      socket_(std::move(socket)),
      on_accept_(std::move(on_accept)),
      on_pause_(std::move(on_pause)),
      may_accept_(std::move(may_accept)) {
  resume();
}

void Listener::resume() { readable_.start(loop_.base(), socket_.fd(), EV_READ | EV_PERSIST, on_event, this); }

void Listener::on_event(int, short, void* listener) noexcept { static_cast<Listener*>(listener)->accept_some(); }

void Listener::on_resume(int, short, void* listener) noexcept { static_cast<Listener*>(listener)->resume(); }

void Listener::accept_all() {
  for (int waiting = 0; waiting < SOMAXCONN && accept_some(); waiting += kAcceptsPerTurn) {
  }
}

// False when nobody waits, or nobody can be accepted for the moment.
bool Listener::accept_some() {
  for (int i = 0; i < kAcceptsPerTurn; i++) {
    if (!may_accept_()) return pause(0), false;
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    int fd = ::accept4(socket_.fd(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      on_accept_(fd, Address::from_sockaddr(reinterpret_cast<sockaddr*>(&peer), size));
      continue;
    }
    if (is_out_of_descriptors(errno) || errno == ENOBUFS || errno == ENOMEM) pause(errno);
    if (errno == ECONNABORTED || errno == EINTR) continue;
    return false;
  }
  return true;
}

// Without the pause the listener would stay readable, and the loop would spin.
void Listener::pause(int error) {
  readable_.stop();
  resume_.start_timer(loop_.base(), kPause, on_resume, this);
  on_pause_(error);
}

}  // namespace cloudbus
