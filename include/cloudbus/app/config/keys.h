// SPDX-License-Identifier: Apache-2.0
#pragma once

// The keys of a configuration: where each may stand, how often, and what its value sets.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "cloudbus/app/config/config.h"
#include "cloudbus/app/config/ini.h"

namespace cloudbus {

// A service, and what is needed only until the whole file is read.
struct ServiceDraft {
  ServiceConfig service;
  std::optional<mode_t> socket_mode;                         // by default that of [Cloudbus]
  std::optional<Keepalive> keepalive;                        // as well
  std::optional<SocketGroup> socket_group;                   // as well
  std::unordered_map<std::string, SourceLine> server_lines;  // by the servers' addresses
  // What has to fit the number of servers; the lines are 0 where the key was not set, or not well.
  std::optional<Mode> mode;
  SourceLine mode_line{}, fanout_line{}, quorum_line{};
};

enum class SectionKind { Daemon, Service };  // [Cloudbus] or the section of a service
enum class Times { Once, Many };

template <class Target>
struct Key {
  std::string_view name;
  std::optional<Role> only;  // a key of both roles unless set
  Times times;
  std::string (*set)(Role, Target&, const IniEntry&);  // returns the error, or nothing

  bool fits(Role role) const { return !only || *only == role; }
};

std::span<const Key<Config>> daemon_keys();
std::span<const Key<ServiceDraft>> service_keys();

// What a file says for it. A file has no word for one-to-one: full duplex with one server is just that.
std::string_view word_of(Mode mode);
std::string_view word_of(BalancePolicy policy);
std::string_view word_of(Refresh refresh);

}  // namespace cloudbus
