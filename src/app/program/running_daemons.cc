// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/running_daemons.h"

#include <arpa/inet.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>

#include "cloudbus/app/program/options.h"

namespace cloudbus {
namespace {

namespace fs = std::filesystem;
using Inodes = std::set<std::string>;  // as the kernel writes them

std::string proc(pid_t pid, const char* name) { return "/proc/" + std::to_string(pid) + "/" + name; }

std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Empty where the process is gone or hidden.
std::string command_name(pid_t pid) {
  std::string name = read_all(proc(pid, "comm"));
  if (name.ends_with('\n')) name.pop_back();
  return name;
}

std::optional<pid_t> parse_pid(std::string_view text) {
  pid_t pid = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  bool is_pid = error == std::errc() && pid > 0 && (end == text.data() + text.size() || *end == '\n');
  return is_pid ? std::optional(pid) : std::nullopt;
}

std::vector<std::string> command_line(pid_t pid) {
  std::vector<std::string> words;
  std::istringstream text(read_all(proc(pid, "cmdline")));
  for (std::string word; std::getline(text, word, '\0');) words.push_back(word);
  return words;
}

bool is_same_file(const std::string& one, const std::string& other) {
  struct stat a, b;
  bool both = ::stat(one.c_str(), &a) == 0 && ::stat(other.c_str(), &b) == 0;
  return both ? a.st_dev == b.st_dev && a.st_ino == b.st_ino : one == other;
}

// False only where the process certainly reads another file.
bool may_read(pid_t pid, const std::string& file, const std::string& by_default) {
  std::vector<std::string> command = command_line(pid);
  if (command.empty()) return false;  // it has ended
  fs::path named = file_of_command(command, by_default);
  std::error_code error;
  fs::path folder = named.is_absolute() ? fs::path("/") : fs::read_symlink(proc(pid, "cwd"), error);
  if (error) return named.filename() == fs::path(file).filename();
  return is_same_file((folder / named).string(), fs::absolute(file, error).string());
}

// The listeners at a Unix address. /proc/net/unix: Num RefCount Protocol Flags Type St Inode Path.
Inodes unix_listeners(const Endpoint& endpoint) {
  constexpr unsigned long kAccepts = 0x10000;  // SO_ACCEPTCON of the kernel
  std::string url = endpoint.address.to_string(), wanted = url.substr(std::strlen("unix:"));
  Inodes inodes;
  std::ifstream table("/proc/self/net/unix");
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::string skip, flags, inode, path;
    words >> skip >> skip >> skip >> flags >> skip >> skip >> inode;
    std::getline(words >> std::ws, path);
    if (path == wanted && (std::strtoul(flags.c_str(), nullptr, 16) & kAccepts) != 0) inodes.insert(inode);
  }
  return inodes;
}

// "0100007F:1F90": the words of an address as they are in memory, each as a number of this machine.
std::optional<Address> parse_table_address(const std::string& text) {
  std::size_t colon = text.find(':');
  if (colon != 8 && colon != 32) return std::nullopt;
  std::uint32_t words[4] = {};
  for (std::size_t i = 0; i < colon / 8; ++i)
    words[i] = static_cast<std::uint32_t>(std::strtoul(text.substr(i * 8, 8).c_str(), nullptr, 16));
  auto port = static_cast<std::uint16_t>(std::strtoul(text.c_str() + colon + 1, nullptr, 16));
  if (colon == 8) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    in.sin_addr.s_addr = words[0];
    return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&in), sizeof in);
  }
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  std::memcpy(&in6.sin6_addr, words, sizeof words);
  return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&in6), sizeof in6);
}

// The listeners that stand in the way of a bind; the table knows no zones. /proc/net/tcp: the address is the second
// word, the state the fourth, the inode the tenth.
Inodes tcp_listeners(const Endpoint& endpoint) {
  Endpoint wanted = Endpoint::of(endpoint.address.with_zone({}));
  Inodes inodes;
  for (const char* path : {"/proc/self/net/tcp", "/proc/self/net/tcp6"}) {
    std::ifstream table(path);
    std::string line;
    std::getline(table, line);
    while (std::getline(table, line)) {
      std::istringstream words(line);
      std::vector<std::string> fields(std::istream_iterator<std::string>(words), {});
      auto address = fields.size() > 9 && fields[3] == "0A" ? parse_table_address(fields[1]) : std::nullopt;
      if (address && overlap(Endpoint::of(*address), wanted)) inodes.insert(fields[9]);
    }
  }
  return inodes;
}

Inodes listeners(const Endpoint& endpoint) {
  return endpoint.kind == Endpoint::Kind::Tcp ? tcp_listeners(endpoint) : unix_listeners(endpoint);
}

// True also where its descriptors may not be seen.
bool may_have(pid_t pid, const Inodes& inodes) {
  std::error_code error;
  fs::directory_iterator entries(proc(pid, "fd"), error);
  if (error) return error != std::errc::no_such_file_or_directory;
  return std::any_of(entries, fs::directory_iterator(), [&inodes](const fs::directory_entry& entry) {
    std::error_code gone;
    std::string target = fs::read_symlink(entry.path(), gone).string();  // socket:[12345]
    std::size_t open = target.find('[');
    return target.starts_with("socket:") && inodes.contains(target.substr(open + 1, target.size() - open - 2));
  });
}

}  // namespace

std::string file_of_command(const std::vector<std::string>& command, const std::string& by_default) {
  constexpr std::string_view kLongFile = "--f", kWithValue = "flp";
  std::string file = by_default;
  for (std::size_t i = 1; i < command.size(); ++i) {
    const std::string& word = command[i];
    std::string next = i + 1 < command.size() ? command[i + 1] : "";
    if (word.starts_with("--")) {
      std::size_t equals = word.find('=');
      if (word.starts_with(kLongFile)) file = equals == std::string::npos ? next : word.substr(equals + 1);
      continue;
    }
    std::size_t letter = word.starts_with('-') ? word.find_first_of(kWithValue, 1) : std::string::npos;
    if (letter == std::string::npos) continue;
    bool has_rest = letter + 1 < word.size();
    if (word[letter] == 'f') file = has_rest ? word.substr(letter + 1) : next;
    if (!has_rest) ++i;
  }
  return file;
}

RunningDaemons::RunningDaemons(Role role, const std::string& file, const std::string& pid_file)
    : sees_all_(!command_name(1).empty()) {
  const std::string name(name_of(role)), by_default = default_file(role);
  std::error_code error;
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end; entry.increment(error)) {
    auto pid = parse_pid(entry->path().filename().string());
    if (pid && *pid != ::getpid() && command_name(*pid) == name && may_read(*pid, file, by_default))
      pids_.push_back(*pid);
  }
  if (pid_file.empty()) return;
  auto pid = parse_pid(read_all(pid_file));
  if (pid && *pid != ::getpid() && command_name(*pid) == name) pids_.push_back(*pid);
}

bool RunningDaemons::may_hold(const Endpoint& endpoint) const {
  if (pids_.empty()) return !sees_all_;
  Inodes inodes = listeners(endpoint);
  return std::ranges::any_of(pids_, [&inodes](pid_t pid) { return may_have(pid, inodes); });
}

bool is_listening(const Endpoint& endpoint) { return !listeners(endpoint).empty(); }

}  // namespace cloudbus
