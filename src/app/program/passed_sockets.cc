// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/passed_sockets.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "cloudbus/app/config/values.h"
#include "cloudbus/net/listener.h"

namespace cloudbus {
namespace {

constexpr int kFirst = 3;  // SD_LISTEN_FDS_START
constexpr int kMost = 65536;
constexpr std::string_view kUnnamed = "unknown";  // as sd_listen_fds_with_names(3) has it

std::optional<std::string> take_variable(const char* name) {
  const char* value = std::getenv(name);
  if (!value) return std::nullopt;
  std::string text(value);
  ::unsetenv(name);
  return text;
}

std::optional<int> parse(const std::string& text) {
  int number = 0;
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end || number < 0) return std::nullopt;
  return number;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == ':')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

}  // namespace

PassedSockets::PassedSockets() {
  auto pid = take_variable("LISTEN_PID"), count = take_variable("LISTEN_FDS"), list = take_variable("LISTEN_FDNAMES");
  take_variable("LISTEN_PIDFDID");
  if (!pid || !count) return;
  if (parse(*pid) != ::getpid()) {
    problems_.push_back(fmt::format("sockets were passed to the process {}, not to this one", quoted(*pid)));
    return;
  }
  int sockets = parse(*count).value_or(-1);
  if (sockets < 0 || sockets > kMost) {
    problems_.push_back(fmt::format("LISTEN_FDS is {}; allowed is a number up to {}", quoted(*count), kMost));
    return;
  }
  std::vector<std::string> names = split(list.value_or(""));
  if (list && names.size() != static_cast<std::size_t>(sockets))
    problems_.push_back(fmt::format("LISTEN_FDNAMES has {} names for {} sockets", names.size(), sockets));
  names.resize(static_cast<std::size_t>(sockets));
  for (int i = 0; i < sockets; i++) take(kFirst + i, names[static_cast<std::size_t>(i)]);
}

void PassedSockets::take(int fd, const std::string& name) {
  std::string known(name.empty() ? kUnnamed : name);
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
    problems_.push_back(fmt::format("the socket {} that was passed as descriptor {} is not open", quoted(known), fd));
  } else if (!is_listening_stream(fd)) {
    problems_.push_back(
        fmt::format("the socket {} that was passed as descriptor {} does not listen for streams", quoted(known), fd));
    ::close(fd);
  } else {
    passed_.push_back({known, fd});
  }
}

std::vector<int> PassedSockets::named(std::string_view name) const {
  std::vector<int> found;
  for (const Passed& passed : passed_)
    if (passed.name == name) found.push_back(passed.fd);
  return found;
}

std::vector<std::string> PassedSockets::names() const {
  std::vector<std::string> names;
  for (const Passed& passed : passed_)
    if (std::ranges::find(names, passed.name) == names.end()) names.push_back(passed.name);
  return names;
}

void PassedSockets::close() {
  for (const Passed& passed : passed_) ::close(passed.fd);
  passed_.clear();
}

}  // namespace cloudbus
