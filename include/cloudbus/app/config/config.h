// SPDX-License-Identifier: Apache-2.0
#pragma once

// The configuration of a daemon, read from its file and checked. cloudbus.ini(5) tells what each key means.

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cloudbus/app/config/group.h"
#include "cloudbus/app/config/source_line.h"
#include "cloudbus/core/base/time.h"
#include "cloudbus/core/fanout/fanout.h"
#include "cloudbus/core/policy/balance.h"
#include "cloudbus/core/wire/codes.h"
#include "cloudbus/net/address.h"
#include "cloudbus/net/socket_options.h"

namespace cloudbus {

enum class LogLevel { Trace, Debug, Info, Warning, Error, Off };
enum class LogFormat { Text, Json };

std::string_view name_of(LogLevel level);
std::string_view name_of(LogFormat format);
std::optional<LogLevel> parse_log_level(std::string_view text);
// The level that the text is perhaps a slip of, or nothing.
std::string_view meant_log_level(std::string_view text);

// Numbers of services and of binds, from 1. What a reload leaves as it is keeps its number; no number is used twice.
using ServiceId = std::uint32_t;
using BindId = std::uint32_t;

struct BindConfig {
  Endpoint endpoint;
  SourceLine line{};
  BindId id = 0;

  bool operator==(const BindConfig& other) const { return endpoint == other.endpoint; }
};

enum class Refresh {
  Lazy,       // names are renewed when their TTLs are over, in the background
  Immediate,  // when somebody needs them
};

// Active checks of servers.
struct HealthConfig {
  Duration every = Duration::zero();  // 0: none, what happens to clients has to tell
  int fall = 3, rise = 2;             // see HealthRules

  bool is_active() const { return every != Duration::zero(); }
  bool operator==(const HealthConfig&) const = default;
};

struct ServerConfig {
  Endpoint endpoint;
  SourceLine line{};

  // Where it stands is no part of what it says.
  bool operator==(const ServerConfig& other) const { return endpoint == other.endpoint; }
};

// What a file says of a service.
struct ServiceSettings {
  std::string name;
  std::vector<BindConfig> binds;
  std::vector<ServerConfig> servers;  // at least one
  std::string service;                // the name that OPEN carries; the section's own unless `service` is set
  mode_t socket_mode = 0660;
  SocketGroup socket_group;
  Duration connect_timeout = std::chrono::seconds(5);
  bool connect_retry = true;                 // a dial that was refused is tried again within it
  Keepalive keepalive;                       // of clients and servers
  Duration idle_timeout = Duration::zero();  // 0 is none, here and below
  Duration half_close_timeout = std::chrono::minutes(5);
  Duration resume = std::chrono::seconds(30);  // how long a stream waits for another link
  int links = 1;                               // to each address; 0 is auto
  std::int8_t priority = 0;                    // of its streams on a link: -128 is first
  HealthConfig health;
  Refresh refresh = Refresh::Lazy;
  Mode mode = Mode::OneToOne;
  BalancePolicy balance = BalancePolicy::RoundRobin;
  FanoutLimits fanout;  // of the modes that have several legs

  bool operator==(const ServiceSettings&) const = default;
};

// What the file says, or would mean without saying it, also where it means nothing for one server.
struct WrittenMode {
  Mode mode = Mode::OneToOne;
  BalancePolicy balance = BalancePolicy::RoundRobin;
  FanoutLimits fanout;
};

struct ServiceConfig : ServiceSettings {
  ServiceId id = 0;
  SourceLine line{};
  WrittenMode written;
};

struct Config {
  Role role = Role::Controller;
  std::vector<std::string> files{};      // the one that was named, and those that it includes
  std::vector<BindConfig> shared_binds;  // a segment's: they serve every service by name
  mode_t socket_mode = 0660;
  SocketGroup socket_group;
  int threads = 1;
  bool has_auto_threads = false;  // the file says `auto`; `threads` has the number already
  LogLevel log_level = LogLevel::Info;
  LogFormat log_format = LogFormat::Text;
  std::string pid_file;  // empty: none
  Duration drain_timeout = std::chrono::seconds(30);
  Duration drain_idle = std::chrono::seconds(5);               // 0: a drain ends no conversation that is idle
  Keepalive keepalive;                                         // of links
  std::uint64_t memory = std::uint64_t{512} << 20;             // bytes of buffers in the process
  std::string nameservers;                                     // "10.0.0.2:53,[::1]:5353"; empty: the system's
  std::string urn_zone = "urn.arpa";                           // below which the rules of URNs are
  std::vector<std::shared_ptr<const ServiceConfig>> services;  // in the order of the file
  ServiceId last_service = 0;  // the greatest ids that were given away, by this configuration or one before it
  BindId last_bind = 0;

  const std::string& file() const { return files.front(); }
  // "FILE:LINE"
  std::string at(const SourceLine& line) const;
};

// Either a configuration or its errors in the order of their lines, each "FILE:LINE: what is wrong; what is allowed".
struct ConfigResult {
  std::optional<Config> config;
  std::vector<std::string> errors;
};

ConfigResult load_config(Role role, const std::string& path);
// `name` stands for the file in the errors.
ConfigResult parse_config(Role role, const std::string& name, std::string_view text);

// The effective configuration, with every key; it reads back as the same.
std::string to_ini(const Config& config);

}  // namespace cloudbus
