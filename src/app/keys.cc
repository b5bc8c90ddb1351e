// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/keys.h"

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include "cloudbus/app/values.h"

namespace cloudbus {
namespace {

constexpr std::array<std::string_view, 6> kLogLevels = {"trace", "debug", "info", "warning", "error", "off"};
constexpr std::array<std::string_view, 2> kLogFormats = {"text", "json"};
constexpr std::array<std::string_view, 2> kModes = {"half_duplex", "full_duplex"};
constexpr int kMostThreads = 64;
constexpr int kMostLinks = 64;
constexpr std::uint64_t kLeastMemory = std::uint64_t{16} << 20;
constexpr std::uint64_t kMostMemory = std::uint64_t{1024} << 30;

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
  binds.push_back({*endpoint, entry.line});
  return {};
}

std::string set_server(Role role, ServiceDraft& draft, const IniEntry& entry) {
  if (draft.server_line != 0) {
    return "this is a second server, the first is in line " + std::to_string(draft.server_line) +
           "; this version allows one";
  }
  draft.server_line = entry.line;
  auto [endpoint, error] = parse_endpoint(entry.value);
  if (!endpoint) return error;
  if (endpoint->is_builtin() && role == Role::Controller) {
    return endpoint->to_string() + " is served by segments; a controller's server is the address of a segment";
  }
  if (endpoint->is_port_zero()) return "nothing can be reached at port 0; allowed are 1 to 65535";
  draft.service.servers.push_back({*endpoint, entry.line});
  return {};
}

std::string set_service(ServiceDraft& draft, const IniEntry& entry) {
  draft.service.service = entry.value;
  return check_service_name(entry.value);
}

// With one server both modes are one-to-one, so that there is nothing to keep.
std::string check_mode(const IniEntry& entry) {
  std::string word = normal_word(entry.value);
  if (std::ranges::find(kModes, word) != kModes.end()) return {};
  bool later = word == "publish" || word == "balance";
  return (later ? word + " is not in this version" : quoted(entry.value) + " is not a mode") +
         "; allowed are half duplex and full duplex";
}

std::string set_links(int& links, const IniEntry& entry) {
  if (normal_word(entry.value) != "auto") return store(links, parse_number(entry.value, 1, kMostLinks));
  return "auto is not in this version; allowed is 1 to " + std::to_string(kMostLinks);
}

std::string set_threads(int& threads, const IniEntry& entry) {
  if (normal_word(entry.value) == "auto") {
    threads = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMostThreads);
    return {};
  }
  std::string error = store(threads, parse_number(entry.value, 1, kMostThreads));
  return error.empty() ? error : error + ", or auto";
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
    {"mode", {}, Times::Once, [](Role, ServiceDraft&, const IniEntry& entry) { return check_mode(entry); }},
    {"links", Role::Controller, Times::Once,
     [](Role, ServiceDraft& draft, const IniEntry& entry) { return set_links(draft.service.links, entry); }},
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

// Why a key that exists is not one of this place; nothing for a key that does not exist.
std::string misplaced(Place place, std::string_view word) {
  if (place == Place::Daemon) {
    if (word == "bind") {
      return "a controller has no bind in [Cloudbus]: its clients cannot say which service they want, so that each "
             "service has a bind of its own";
    }
    return has(service_keys(), word) ? std::string(word) + " belongs in the section of a service" : std::string();
  }
  if (word == "service") return "service is a controller's key: a segment knows its services by their sections' names";
  if (word == "links") return "links is a controller's key: segments open none";
  return has(daemon_keys(), word) ? std::string(word) + " belongs in the section [Cloudbus]" : std::string();
}

}  // namespace

std::span<const Key<Config>> daemon_keys() { return kDaemonKeys; }
std::span<const Key<ServiceDraft>> service_keys() { return kServiceKeys; }

std::string unknown_key(Role role, Place place, std::string_view key) {
  if (key.empty()) return "there is no key before the =; write KEY = VALUE";
  auto words = place == Place::Daemon ? names(daemon_keys(), role) : names(service_keys(), role);
  std::string error = misplaced(place, normal_word(key));
  if (error.empty()) {
    error = "there is no key " + quoted(key);
    std::string_view meant = meant_word(key, words);
    if (!meant.empty()) error += ", perhaps " + std::string(meant) + " is meant";
  }
  std::string where = place == Place::Daemon ? "[Cloudbus] of a " : "the service of a ";
  return error + "; allowed in " + where + std::string(name_of(role)) + " are " + listed(words);
}

std::string_view name_of(LogLevel level) { return kLogLevels[static_cast<std::size_t>(level)]; }
std::string_view name_of(LogFormat format) { return kLogFormats[static_cast<std::size_t>(format)]; }

std::optional<LogLevel> parse_log_level(std::string_view text) {
  auto parsed = parse_word(text, kLogLevels);
  if (!parsed.value) return std::nullopt;
  return static_cast<LogLevel>(*parsed.value);
}

}  // namespace cloudbus
