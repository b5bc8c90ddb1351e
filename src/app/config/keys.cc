// SPDX-License-Identifier: Apache-2.0
// long: the table of all keys, and what each of them takes
#include "cloudbus/app/config/keys.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <sstream>
#include <thread>
#include <vector>

#include "cloudbus/app/config/address_value.h"
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
constexpr std::array<std::string_view, 2> kChecks = {"passive", "tcp"};
constexpr int kMostServers = 1000;  // of a service
constexpr int kMostThreads = 64;
constexpr int kMostLinks = 64;
constexpr int kMostChecks = 100;  // of fall and rise
constexpr int kMostProbes = 127;  // tcp(7), TCP_KEEPCNT
constexpr Duration kMostKeepalive = std::chrono::seconds(32767);
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

std::string add_bind(Role role, std::vector<BindConfig>& binds, const IniEntry& entry) {
  auto [endpoint, error] = parse_address(role, Place::Bind, entry.value);
  if (!endpoint) return error;
  binds.push_back({*endpoint, entry.line});
  return {};
}

std::string set_server(Role role, ServiceDraft& draft, const IniEntry& entry) {
  auto [endpoint, error] = parse_address(role, Place::Server, entry.value);
  if (!endpoint) return error;
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
    return role == Role::Controller ? parsed.error : not_known(entry.value, kModes) + of_segments;
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

// What stands before the next of the words, which goes to `word`; at the end that is empty.
std::string take_part(std::istringstream& rest, std::string& word, std::initializer_list<std::string_view> words) {
  std::string part;
  auto is_next = [&] { return std::ranges::find(words, normal_word(word)) != words.end(); };
  while (rest >> word && !is_next()) part += (part.empty() ? "" : " ") + word;
  if (!rest) word.clear();
  return part;
}

// `tcp 5 s fall 3 rise 2`, or `passive`.
std::string set_health(HealthConfig& health, const IniEntry& entry) {
  const std::string allowed =
      "; allowed are passive, and tcp with a time of 100 ms to 24 h, as in tcp 5 s or tcp 5 s fall 3 rise 2";
  HealthConfig result;
  std::istringstream words(entry.value);
  std::string word;
  words >> word;
  if (normal_word(word) == "passive" && words.peek() == EOF) {
    health = result;
    return {};
  }
  if (normal_word(word) != "tcp") return not_known(entry.value, kChecks) + allowed;
  const std::string every = take_part(words, word, {"fall", "rise"});
  if (!store(result.every, parse_duration(every, Zero::Refused)).empty() || result.every < kLeastCheck)
    return quoted(every) + " is no time between checks" + allowed;
  while (!word.empty()) {
    const std::string name = word, times = take_part(words, word, {"fall", "rise"});
    if (!store(normal_word(name) == "fall" ? result.fall : result.rise, parse_number(times, 1, kMostChecks)).empty())
      return quoted(times) + " is no number for " + name + "; allowed are 1 to " + std::to_string(kMostChecks);
  }
  health = result;
  return {};
}

constexpr std::array<std::string_view, 2> kYesNo = {"no", "yes"};

// `60 s`, `60 s interval 10 s count 6`, or 0.
std::string set_keepalive(Keepalive& keepalive, const IniEntry& entry) {
  const std::string allowed = "; allowed are 0, and a time, as in 60 s or 60 s interval 10 s count 6";
  Keepalive result;
  std::istringstream words(entry.value);
  std::string word;
  std::string error = store(result.after, parse_duration(take_part(words, word, {"interval", "count"}), Zero::Allowed));
  while (error.empty() && !word.empty()) {
    if (normal_word(word) == "interval")
      error = store(result.interval, parse_duration(take_part(words, word, {"interval", "count"}), Zero::Refused));
    else
      error = store(result.count, parse_number(take_part(words, word, {"interval", "count"}), 1, kMostProbes));
  }
  if (!error.empty()) return error + allowed;
  for (Duration time : {result.after, result.interval})
    if (time != Duration::zero() && (time % std::chrono::seconds(1) != Duration::zero() || time > kMostKeepalive))
      return "the times of keepalive are whole seconds, at most " + format_duration(kMostKeepalive) + allowed;
  keepalive = result;
  return {};
}

std::string set_threads(Config& config, const IniEntry& entry) {
  int& threads = config.threads;
  config.has_auto_threads = normal_word(entry.value) == "auto";
  if (config.has_auto_threads) {
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
     [](Role role, Config& config, const IniEntry& entry) { return add_bind(role, config.shared_binds, entry); }},
    {"socket_mode",
     {},
     Times::Once,
     [](Role, Config& config, const IniEntry& entry) {
       return store(config.socket_mode, parse_file_mode(entry.value));
     }},
    {"socket_group",
     {},
     Times::Once,
     [](Role, Config& config, const IniEntry& entry) {
       config.socket_group = find_group(entry.value);
       return std::string();
     }},
    {"threads",
     {},
     Times::Once,
     [](Role, Config& config, const IniEntry& entry) { return set_threads(config, entry); }},
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
    {"drain_idle",
     {},
     Times::Once,
     [](Role, Config& config, const IniEntry& entry) {
       return store(config.drain_idle, parse_duration(entry.value, Zero::Allowed));
     }},
    {"keepalive",
     {},
     Times::Once,
     [](Role, Config& config, const IniEntry& entry) { return set_keepalive(config.keepalive, entry); }},
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
     [](Role role, ServiceDraft& draft, const IniEntry& entry) { return add_bind(role, draft.service.binds, entry); }},
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
    {"socket_group",
     {},
     Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) {
       draft.socket_group = find_group(entry.value);
       return std::string();
     }},
    {"connect_timeout",
     {},
     Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) {
       return store(draft.service.connect_timeout, parse_duration(entry.value, Zero::Refused));
     }},
    {"connect_retry",
     {},
     Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) {
       return store(draft.service.connect_retry, parse_word(entry.value, kYesNo));
     }},
    {"keepalive",
     {},
     Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) { return set_keepalive(draft.keepalive.emplace(), entry); }},
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

}  // namespace

std::span<const Key<Config>> daemon_keys() { return kDaemonKeys; }
std::span<const Key<ServiceDraft>> service_keys() { return kServiceKeys; }

std::string_view word_of(Mode mode) {
  if (mode == Mode::OneToOne) mode = Mode::FullDuplex;
  return kModes[static_cast<std::size_t>(mode) - kFirstMode];
}

std::string_view word_of(BalancePolicy policy) { return kPolicies[static_cast<std::size_t>(policy)]; }

std::string_view name_of(LogLevel level) { return kLogLevels[static_cast<std::size_t>(level)]; }
std::string_view word_of(Refresh refresh) { return kRefreshes[static_cast<std::size_t>(refresh)]; }
std::string_view name_of(LogFormat format) { return kLogFormats[static_cast<std::size_t>(format)]; }

std::string_view meant_log_level(std::string_view text) { return meant_word(text, kLogLevels); }

std::optional<LogLevel> parse_log_level(std::string_view text) {
  auto parsed = parse_word(text, kLogLevels);
  if (!parsed.value) return std::nullopt;
  return static_cast<LogLevel>(*parsed.value);
}

}  // namespace cloudbus
