// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/keys.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <sstream>
#include <thread>
#include <vector>

#include "cloudbus/app/config/values.h"
#include "cloudbus/net/name_server.h"

namespace cloudbus {
namespace {

constexpr std::array<std::string_view, 6> kLogLevels = {"trace", "debug", "info", "warning", "error", "off"};
constexpr std::array<std::string_view, 2> kLogFormats = {"text", "json"};
constexpr std::array<std::string_view, 2> kRefreshes = {"lazy", "immediate"};
constexpr std::array<std::string_view, 4> kModes = {"half duplex", "full duplex", "publish", "balance"};
constexpr std::size_t kFirstMode = static_cast<std::size_t>(Mode::HalfDuplex);  // the first word's
constexpr std::array<std::string_view, 5> kPolicies = {"round robin", "least connections", "random", "hash", "first"};
constexpr int kMostServers = 1000;  // of a service
constexpr int kMostThreads = 64;
constexpr int kMostLinks = 64;
constexpr int kMostChecks = 100;  // of fall and rise
constexpr Duration kLeastCheck = std::chrono::milliseconds(100);
constexpr std::uint64_t kLeastMemory = std::uint64_t{16} << 20;
constexpr std::uint64_t kMostMemory = std::uint64_t{1024} << 30;
constexpr std::uint64_t kLeastLag = std::uint64_t{64} << 10;
constexpr std::uint64_t kMostLag = std::uint64_t{1} << 30;

// Stores the value, or returns what is wrong with it.
template <class T, class V>
std::string store(T& target, Parsed<V> parsed) {
  if (parsed.value) target = static_cast<T>(*parsed.value);
  return std::move(parsed.error);
}

std::string add_bind(std::vector<BindConfig>& binds, const IniEntry& entry) {
  auto [endpoint, error] = parse_endpoint(entry.value);
  if (!endpoint) return error;
  if (endpoint->is_builtin()) return endpoint->to_string() + " is no address to listen at; it is a segment's server";
  if (endpoint->is_name())
    return endpoint->to_string() + " is a name; allowed here is a numeric address, as in tcp://10.0.0.2:80";
  binds.push_back({*endpoint, entry.line});
  return {};
}

std::string set_server(Role role, ServiceDraft& draft, const IniEntry& entry) {
  auto [endpoint, error] = parse_endpoint(entry.value);
  if (!endpoint) return error;
  if (endpoint->is_builtin() && role == Role::Controller) {
    return endpoint->to_string() + " is served by segments; a controller's server is the address of a segment";
  }
  if (endpoint->is_port_zero()) return "nothing can be reached at port 0; allowed are 1 to 65535";
  auto [first, is_new] = draft.server_lines.emplace(endpoint->to_string(), entry.line);
  if (!is_new) {
    return first->first + " is a server of this service in line " + std::to_string(first->second.number) +
           " already; a server is allowed once in a service";
  }
  if (draft.service.servers.size() == kMostServers) {
    bool said_already = draft.server_lines.size() > kMostServers + 1;
    return said_already ? std::string() : "a service has at most " + std::to_string(kMostServers) + " servers";
  }
  draft.service.servers.push_back({*endpoint, entry.line});
  return {};
}

std::string set_service(ServiceDraft& draft, const IniEntry& entry) {
  draft.service.service = entry.value;
  return check_service_name(entry.value);
}

std::string set_mode(Role role, ServiceDraft& draft, const IniEntry& entry) {
  const std::string of_segments = "; allowed are balance, and with one server half duplex and full duplex";
  auto parsed = parse_word(entry.value, kModes);
  if (!parsed.value) {
    return role == Role::Controller ? parsed.error : quoted(entry.value) + " is not known here" + of_segments;
  }
  auto mode = static_cast<Mode>(*parsed.value + kFirstMode);
  if (mode == Mode::Publish && role == Role::Segment) {
    return "publish is a controller's mode: a segment sends each client to one of its servers" + of_segments;
  }
  draft.mode = mode;
  draft.mode_line = entry.line;
  return {};
}

std::string set_fanout(ServiceDraft& draft, const IniEntry& entry) {
  std::uint32_t& legs = draft.service.fanout.legs;
  if (normal_word(entry.value) == "all") {
    legs = 0;
  } else if (std::string error = store(legs, parse_number(entry.value, 1, kMostServers)); !error.empty()) {
    return error + ", or all";
  }
  draft.fanout_line = entry.line;
  return {};
}

std::string set_quorum(ServiceDraft& draft, const IniEntry& entry) {
  std::string error = store(draft.service.fanout.quorum, parse_number(entry.value, 1, kMostServers));
  if (error.empty()) draft.quorum_line = entry.line;
  return error;
}

std::string set_links(int& links, const IniEntry& entry) {
  if (normal_word(entry.value) == "auto") {
    links = 0;
    return {};
  }
  std::string error = store(links, parse_number(entry.value, 1, kMostLinks));
  return error.empty() ? error : error + ", or auto";
}

// The words up to the next `fall` or `rise`, which goes to `word`; at the end that is empty.
std::string take_part(std::istringstream& rest, std::string& word) {
  std::string part;
  while (rest >> word && word != "fall" && word != "rise") part += (part.empty() ? "" : " ") + word;
  if (!rest) word.clear();
  return part;
}

// `tcp 5 s fall 3 rise 2`, or `passive`.
std::string set_health(HealthConfig& health, const IniEntry& entry) {
  const std::string allowed = "; allowed are passive, and tcp with a time, as in tcp 5 s or tcp 5 s fall 3 rise 2";
  HealthConfig result;
  std::istringstream words(entry.value);
  std::string word;
  words >> word;
  if (normal_word(word) == "passive" && words.peek() == EOF) {
    health = result;
    return {};
  }
  if (normal_word(word) != "tcp") return quoted(entry.value) + " is not known here" + allowed;
  std::string error = store(result.every, parse_duration(take_part(words, word), Zero::Refused));
  while (error.empty() && !word.empty()) {
    int& times = word == "fall" ? result.fall : result.rise;
    error = store(times, parse_number(take_part(words, word), 1, kMostChecks));
  }
  if (!error.empty()) return error + allowed;
  if (result.every < kLeastCheck) return "checks are at least " + format_duration(kLeastCheck) + " apart" + allowed;
  health = result;
  return {};
}

std::string set_threads(int& threads, const IniEntry& entry) {
  if (normal_word(entry.value) == "auto") {
    threads = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMostThreads);
    return {};
  }
  std::string error = store(threads, parse_number(entry.value, 1, kMostThreads));
  return error.empty() ? error : error + ", or auto";
}

// Addresses with commas or spaces between, each with a port unless it is 53.
std::string set_nameservers(std::string& nameservers, const IniEntry& entry) {
  std::string list;
  std::string_view rest = entry.value;
  while (true) {
    rest.remove_prefix(std::min(rest.find_first_not_of(", "), rest.size()));
    if (rest.empty()) break;
    std::string_view one = rest.substr(0, rest.find_first_of(", "));
    rest.remove_prefix(one.size());
    auto server = parse_name_server(one);
    if (!server)
      return quoted(one) +
             " is no name server; allowed are numeric addresses with a port or without, as in "
             "10.0.0.2, 10.0.0.3:5353, [::1]:53, [fe80::1%eth0]:53";
    if (server->lacks_zone()) return quoted(one) + " needs the zone of its link, as in [fe80::1%eth0]:53";
    list += (list.empty() ? "" : ",") + server->to_string();
  }
  nameservers = std::move(list);
  return {};
}

std::string set_urn_zone(std::string& zone, const IniEntry& entry) {
  auto [endpoint, error] = parse_endpoint("naptr:" + entry.value);
  if (endpoint) zone = endpoint->name;
  return endpoint ? std::string() : quoted(entry.value) + " is no name for DNS; allowed is one such as urn.arpa";
}

using Daemon = Key<Config>;
const Daemon kDaemonKeys[] = {
    {"bind", Role::Segment, Times::Many,
     [](Role, Config& config, const IniEntry& entry) { return add_bind(config.shared_binds, entry); }},
    {"socket_mode",
     {},
     Times::Once,
     [](Role, Config& config, const IniEntry& entry) {
       return store(config.socket_mode, parse_file_mode(entry.value));
     }},
    {"threads",
     {},
     Times::Once,
     [](Role, Config& config, const IniEntry& entry) { return set_threads(config.threads, entry); }},
    {"memory",
     {},
     Times::Once,
     [](Role, Config& config, const IniEntry& entry) {
       return store(config.memory, parse_size(entry.value, kLeastMemory, kMostMemory));
     }},
    {"drain_timeout",
     {},
     Times::Once,
     [](Role, Config& config, const IniEntry& entry) {
       return store(config.drain_timeout, parse_duration(entry.value, Zero::Allowed));
     }},
    {"nameservers",
     {},
     Times::Once,
     [](Role, Config& config, const IniEntry& entry) { return set_nameservers(config.nameservers, entry); }},
    {"urn_zone",
     {},
     Times::Once,
     [](Role, Config& config, const IniEntry& entry) { return set_urn_zone(config.urn_zone, entry); }},
    {"log_level",
     {},
     Times::Once,
     [](Role, Config& config, const IniEntry& entry) {
       return store(config.log_level, parse_word(entry.value, kLogLevels));
     }},
    {"log_format",
     {},
     Times::Once,
     [](Role, Config& config, const IniEntry& entry) {
       return store(config.log_format, parse_word(entry.value, kLogFormats));
     }},
    {"pid_file",
     {},
     Times::Once,
     [](Role, Config& config, const IniEntry& entry) {
       config.pid_file = entry.value;
       return std::string();
     }},
};

using Service = Key<ServiceDraft>;
const Service kServiceKeys[] = {
    {"bind",
     {},
     Times::Many,
     [](Role, ServiceDraft& draft, const IniEntry& entry) { return add_bind(draft.service.binds, entry); }},
    {"server", {}, Times::Many, set_server},
    {"backend", {}, Times::Many, set_server},  // another word for server
    {"service", Role::Controller, Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) { return set_service(draft, entry); }},
    {"mode", {}, Times::Once, set_mode},
    {"balance",
     {},
     Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) {
       return store(draft.service.balance, parse_word(entry.value, kPolicies));
     }},
    {"fanout", Role::Controller, Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) { return set_fanout(draft, entry); }},
    {"quorum", Role::Controller, Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) { return set_quorum(draft, entry); }},
    {"lag_limit", Role::Controller, Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) {
       return store(draft.service.fanout.lag, parse_size(entry.value, kLeastLag, kMostLag));
     }},
    {"refresh",
     {},
     Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) {
       return store(draft.service.refresh, parse_word(entry.value, kRefreshes));
     }},
    {"health",
     {},
     Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) { return set_health(draft.service.health, entry); }},
    {"links", Role::Controller, Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) { return set_links(draft.service.links, entry); }},
    {"priority", Role::Controller, Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) {
       return store(draft.service.priority, parse_number(entry.value, -128, 127));
     }},
    {"socket_mode",
     {},
     Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) {
       return store(draft.socket_mode.emplace(), parse_file_mode(entry.value));
     }},
    {"connect_timeout",
     {},
     Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) {
       return store(draft.service.connect_timeout, parse_duration(entry.value, Zero::Refused));
     }},
    {"idle_timeout",
     {},
     Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) {
       return store(draft.service.idle_timeout, parse_duration(entry.value, Zero::Allowed));
     }},
    {"half_close_timeout",
     {},
     Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) {
       return store(draft.service.half_close_timeout, parse_duration(entry.value, Zero::Allowed));
     }},
    {"resume",
     {},
     Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) {
       return store(draft.service.resume, parse_duration(entry.value, Zero::Allowed));
     }},
};

template <class Target>
std::vector<std::string_view> names(std::span<const Key<Target>> keys, Role role) {
  std::vector<std::string_view> result;
  for (const auto& key : keys) {
    if (key.fits(role)) result.push_back(key.name);
  }
  return result;
}

template <class Target>
bool has(std::span<const Key<Target>> keys, std::string_view name) {
  return std::ranges::find(keys, name, &Key<Target>::name) != keys.end();
}

// Why a key that exists is not one of this section; nothing for a key that does not exist.
std::string misplaced(SectionKind kind, std::string_view word) {
  if (kind == SectionKind::Daemon) {
    if (word == "bind") {
      return "a controller has no bind in [Cloudbus]: its clients cannot say which service they want, so that each "
             "service has a bind of its own";
    }
    return has(service_keys(), word) ? std::string(word) + " belongs in the section of a service" : std::string();
  }
  if (word == "service") return "service is a controller's key: a segment knows its services by their sections' names";
  if (word == "fanout" || word == "quorum" || word == "lag_limit") {
    return std::string(word) + " is a controller's key: a segment sends each client to one of its servers";
  }
  if (word == "links") return "links is a controller's key: segments open none";
  if (word == "priority") return "priority is a controller's key: it goes with each stream, and counts both ways";
  return has(daemon_keys(), word) ? std::string(word) + " belongs in the section [Cloudbus]" : std::string();
}

}  // namespace

std::span<const Key<Config>> daemon_keys() { return kDaemonKeys; }
std::span<const Key<ServiceDraft>> service_keys() { return kServiceKeys; }

std::string unknown_key(Role role, SectionKind kind, std::string_view key) {
  if (key.empty()) return "there is no key before the =; write KEY = VALUE";
  auto words = kind == SectionKind::Daemon ? names(daemon_keys(), role) : names(service_keys(), role);
  std::string error = misplaced(kind, normal_word(key));
  if (error.empty()) {
    error = "there is no key " + quoted(key);
    std::string_view meant = meant_word(key, words);
    if (!meant.empty()) error += ", perhaps " + std::string(meant) + " is meant";
  }
  std::string where = kind == SectionKind::Daemon ? "[Cloudbus] of a " : "the service of a ";
  return error + "; allowed in " + where + std::string(name_of(role)) + " are " + listed(words);
}

std::string_view word_of(Mode mode) {
  if (mode == Mode::OneToOne) mode = Mode::FullDuplex;
  return kModes[static_cast<std::size_t>(mode) - kFirstMode];
}

std::string_view word_of(BalancePolicy policy) { return kPolicies[static_cast<std::size_t>(policy)]; }

std::string_view name_of(LogLevel level) { return kLogLevels[static_cast<std::size_t>(level)]; }
std::string_view word_of(Refresh refresh) { return kRefreshes[static_cast<std::size_t>(refresh)]; }
std::string_view name_of(LogFormat format) { return kLogFormats[static_cast<std::size_t>(format)]; }

std::optional<LogLevel> parse_log_level(std::string_view text) {
  auto parsed = parse_word(text, kLogLevels);
  if (!parsed.value) return std::nullopt;
  return static_cast<LogLevel>(*parsed.value);
}

}  // namespace cloudbus
