// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/socket_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

namespace cloudbus {
namespace {

constexpr std::string_view kRunFolder = "/run/cloudbus";

std::string with_error(std::string_view what) { return fmt::format("{}: {}", what, std::strerror(errno)); }

// Whether a process listens at a Unix address. EAGAIN is a full queue: the process is busy.
bool is_live(const Address& address) {
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return true;
  bool live = ::connect(fd, address.data(), address.size()) == 0 || errno != ECONNREFUSED;
  ::close(fd);
  return live;
}

int bind_with_mode(int fd, const Address& address, mode_t mode) {
  mode_t before = ::umask(0777 & ~mode);
  int result = ::bind(fd, address.data(), address.size());
  ::umask(before);
  return result;
}

}  // namespace

std::string clear_socket_path(const Address& address) {
  std::string path = address.path();
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0)
    return errno == ENOENT ? std::string() : with_error("cannot look at the socket's path");
  if (!S_ISSOCK(info.st_mode)) return "there is a file at this path that is no socket; it is left alone";
  if (is_live(address)) return "the socket is in use: another process listens at this path";
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return with_error("cannot remove the stale socket file");
  return {};
}

std::string bind_socket_file(int fd, const Address& address, const SocketAccess& access) {
  // The group that the file is made with is another one.
  mode_t at_first = access.group ? access.mode & ~mode_t{S_IRWXG} : access.mode;
  if (bind_with_mode(fd, address, at_first) != 0)
    return errno == ENOENT ? "cannot listen: " + missing_folder(address.path()) : with_error("cannot listen");
  if (!access.group) return {};
  std::string error = set_socket_access(address.path(), access);
  if (!error.empty()) ::unlink(address.path().c_str());
  return error;
}

std::string set_socket_access(const std::string& path, const SocketAccess& access) {
  if (access.group && ::fchownat(AT_FDCWD, path.c_str(), -1, *access.group, AT_SYMLINK_NOFOLLOW) != 0) {
    bool is_forbidden = errno == EPERM;
    std::string error = with_error(fmt::format("cannot give the socket file to the group {}", *access.group));
    return is_forbidden ? error + "; the daemon's user has to be a member of it" : error;
  }
  return ::chmod(path.c_str(), access.mode) == 0 ? std::string() : with_error("cannot set its permissions");
}

std::string missing_folder(const std::string& path) {
  std::size_t slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "." : path.substr(0, slash);
  std::string who = folder != kRunFolder ? "make it first"
                                         : "systemd makes it when it starts one of the two units; by hand it is made "
                                           "with: install -d -o cloudbus -g cloudbus /run/cloudbus";
  return fmt::format("the folder {} does not exist; {}", folder.empty() ? "/" : folder, who);
}

}  // namespace cloudbus
