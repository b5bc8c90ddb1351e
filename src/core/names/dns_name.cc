// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/dns_name.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace cloudbus {
namespace {

constexpr std::size_t kMaxName = 253;  // 255 on the wire, with the first length and the root's
constexpr std::size_t kMaxLabel = 63;

char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool may_stand_in_label(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; }

bool is_label(std::string_view label) {
  return !label.empty() && label.size() <= kMaxLabel && std::ranges::all_of(label, may_stand_in_label);
}

}  // namespace

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), to_lower);
  return lower;
}

std::string normal_name(std::string_view name) {
  if (name.size() > 1 && name.ends_with('.')) name.remove_suffix(1);
  return lower_case(name);
}

bool is_host_name(std::string_view name) {
  if (name.size() > kMaxName) return false;
  for (;;) {
    std::size_t dot = name.find('.');
    if (!is_label(name.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    name.remove_prefix(dot + 1);
  }
}

std::vector<std::string> search_names(const std::string& name, std::span<const std::string> domains, int ndots) {
  std::vector<std::string> names;
  for (const std::string& domain : domains) {
    std::string whole = domain == "." ? name : name + '.' + normal_name(domain);
    if (whole != name && is_host_name(whole)) names.push_back(std::move(whole));
  }
  names.insert(std::ranges::count(name, '.') >= ndots ? names.begin() : names.end(), name);
  return names;
}

}  // namespace cloudbus
