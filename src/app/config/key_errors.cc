// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/key_errors.h"

#include <algorithm>
#include <span>
#include <vector>

#include "cloudbus/app/config/values.h"

namespace cloudbus {
namespace {

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

std::string unknown_key(Role role, SectionKind kind, std::string_view key) {
  if (key.empty()) return "there is no key before the =; write KEY = VALUE";
  auto words = kind == SectionKind::Daemon ? names(daemon_keys(), role) : names(service_keys(), role);
  std::string error = misplaced(kind, normal_word(key));
  if (error.empty()) {
    error = "there is no key " + quoted(key);
    std::string_view meant = meant_word(key, words), first = key.substr(0, key.find_first_of(" \t"));
    bool lacks_equals = first.size() < key.size() && std::ranges::find(words, normal_word(first)) != words.end();
    if (lacks_equals)
      error += ", perhaps a = is missing behind " + std::string(first);
    else if (!meant.empty())
      error += ", perhaps " + std::string(meant) + " is meant";
  }
  std::string where = kind == SectionKind::Daemon ? "[Cloudbus] of a " : "the service of a ";
  return error + "; allowed in " + where + std::string(name_of(role)) + " are " + listed(words);
}

bool is_key(Role role, std::string_view word) {
  auto has_it = [&](auto keys) {
    return std::ranges::any_of(keys, [&](const auto& key) { return key.fits(role) && key.name == word; });
  };
  return has_it(daemon_keys()) || has_it(service_keys());
}

}  // namespace cloudbus
