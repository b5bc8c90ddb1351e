// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/preflight.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "cloudbus/app/program/running_daemons.h"

namespace cloudbus {
namespace {

constexpr std::string_view kInUse = "the address is in use: another process listens there";
constexpr std::string_view kRunFolder = "/run/cloudbus";

std::string folder_of(const std::string& path) {
  std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Why no file can be made in a folder, or nothing.
std::string folder_warning(const std::string& folder) {
  struct stat info;
  if (::stat(folder.c_str(), &info) != 0) {
    if (errno != ENOENT) return fmt::format("the folder {} cannot be looked at: {}", folder, std::strerror(errno));
    bool is_ours = folder == kRunFolder;
    return fmt::format("the folder {} does not exist{}", folder, is_ours ? "; the units of systemd make it" : "");
  }
  if (!S_ISDIR(info.st_mode)) return folder + " is no folder";
  if (::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) == 0) return {};
  return fmt::format("this user cannot make a file in the folder {}: {}", folder, std::strerror(errno));
}

std::string path_warning(const Endpoint& endpoint) {
  std::string path = endpoint.address.path();
  if (std::string text = folder_warning(folder_of(path)); !text.empty()) return text;
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode)) return "there is a file at this path that is no socket";
  return is_listening(endpoint) ? std::string(kInUse) : std::string();
}

std::string bind_error(int error, const Address& address) {
  switch (error) {
    case EADDRINUSE: return std::string(kInUse);
    case EADDRNOTAVAIL: return "this machine does not have the address now";
    case EACCES:
      return fmt::format("this user has no right to the port {} (CAP_NET_BIND_SERVICE; the units of systemd have it)",
                         address.port());
    default: return fmt::format("the address cannot be bound now: {}", std::strerror(error));
  }
}

std::string zone_warning(const Address& address) {
  return address.in_its_zone() ? std::string() : "there is no interface " + address.zone() + " now";
}

// A socket that is bound and does not listen is in nobody's way.
std::string tcp_warning(const Address& address) {
  if (std::string text = zone_warning(address); !text.empty()) return text;
  int fd = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fmt::format("no socket can be made for the address: {}", std::strerror(errno));
  int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.family() == AF_INET6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  std::optional<Address> known = address.in_its_zone();
  int error = known && ::bind(fd, known->data(), known->size()) != 0 ? errno : 0;
  ::close(fd);
  return error == 0 ? std::string() : bind_error(error, address);
}

std::string bind_warning(const Endpoint& endpoint) {
  switch (endpoint.kind) {
    case Endpoint::Kind::Tcp: return tcp_warning(endpoint.address);
    case Endpoint::Kind::Unix: return path_warning(endpoint);
    case Endpoint::Kind::Systemd: return {};  // who starts the daemon knows
    default: return is_listening(endpoint) ? std::string(kInUse) : std::string();
  }
}

std::string pid_file_warning(const std::string& path) {
  if (path.empty()) return {};
  if (::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0) return {};
  if (errno != ENOENT) return fmt::format("this user cannot write {}: {}", path, std::strerror(errno));
  return folder_warning(folder_of(path));
}

class Preflight {
 public:
  explicit Preflight(const Config& config) : config_(config) {}

  std::vector<std::string> warnings() {
    if (std::string text = pid_file_warning(config_.pid_file); !text.empty())
      found_.emplace_back(SourceLine{}, fmt::format("{}: warning: pid_file: {}", config_.file(), text));
    for (const BindConfig& bind : config_.shared_binds) look_at(bind);
    for (const auto& service : config_.services) {
      for (const BindConfig& bind : service->binds) look_at(bind);
      for (const ServerConfig& server : service->servers)
        if (!server.endpoint.is_name())
          add(server.line, "server", server.endpoint, zone_warning(server.endpoint.address));
    }
    std::ranges::stable_sort(found_, {}, &Found::first);
    std::vector<std::string> texts;
    for (Found& found : found_) texts.push_back(std::move(found.second));
    return texts;
  }

 private:
  using Found = std::pair<SourceLine, std::string>;

  void look_at(const BindConfig& bind) {
    std::string text = bind_warning(bind.endpoint);
    if (text == kInUse && daemons().may_hold(bind.endpoint)) return;
    add(bind.line, "bind", bind.endpoint, text);
  }

  void add(const SourceLine& line, const char* key, const Endpoint& endpoint, const std::string& text) {
    if (text.empty()) return;
    found_.emplace_back(line,
                        fmt::format("{}: warning: {}: {}: {}", config_.at(line), key, endpoint.to_string(), text));
  }

  const RunningDaemons& daemons() {
    if (!daemons_) daemons_.emplace(config_.role, config_.file(), config_.pid_file);
    return *daemons_;
  }

  const Config& config_;
  std::optional<RunningDaemons> daemons_;  // once an address is in use
  std::vector<Found> found_;
};

}  // namespace

std::vector<std::string> machine_warnings(const Config& config) { return Preflight(config).warnings(); }

}  // namespace cloudbus
