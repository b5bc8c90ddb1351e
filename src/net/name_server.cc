// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/name_server.h"

#include <net/if.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace cloudbus {
namespace {

constexpr std::string_view kBlanks = " \t\r", kBetween = ", \t\r";
constexpr std::string_view kKeyword = "nameserver";

std::string_view take_word(std::string_view& rest) {
  rest.remove_prefix(std::min(rest.find_first_not_of(kBetween), rest.size()));
  std::string_view word = rest.substr(0, rest.find_first_of(kBetween));
  rest.remove_prefix(word.size());
  return word;
}

bool is_link_local(const Address& address) {
  return address.family() == AF_INET6 &&
         IN6_IS_ADDR_LINKLOCAL(&reinterpret_cast<const sockaddr_in6*>(address.data())->sin6_addr);
}

// The interface with this name or number; 0 if there is none.
unsigned index_of(const std::string& zone) {
  if (unsigned index = if_nametoindex(zone.c_str())) return index;
  unsigned number = 0;
  auto [end, error] = std::from_chars(zone.data(), zone.data() + zone.size(), number);
  return error == std::errc() && end == zone.data() + zone.size() ? number : 0;
}

// In resolv.conf, an IPv6 address has no brackets.
std::optional<NameServer> parse_bare(std::string_view word) {
  if (word.starts_with('[') || std::ranges::count(word, ':') < 2) return parse_name_server(word);
  return parse_name_server("[" + std::string(word) + "]");
}

}  // namespace

bool NameServer::lacks_zone() const { return zone.empty() && is_link_local(address); }

std::string NameServer::to_string() const {
  std::string text = address.to_string();
  return zone.empty() ? text : text.insert(text.find(']'), "%" + zone);
}

std::optional<sockaddr_in6> NameServer::scoped() const {
  unsigned index = index_of(zone);
  if (index == 0) return std::nullopt;
  sockaddr_in6 result{};
  std::memcpy(&result, address.data(), sizeof result);
  result.sin6_scope_id = index;
  return result;
}

std::optional<NameServer> parse_name_server(std::string_view text) {
  std::string url(text), zone;
  std::size_t close = url.starts_with('[') ? url.find(']') : std::string::npos;
  if (std::size_t percent = url.find('%'); percent < close && close != std::string::npos) {
    zone = url.substr(percent + 1, close - percent - 1);
    if (zone.empty() || zone.find_first_of("%/") != std::string::npos) return std::nullopt;
    url.erase(percent, close - percent);
    close = percent;
  }
  bool has_port = url.find(':', close == std::string::npos ? 0 : close) != std::string::npos;
  auto endpoint = parse_endpoint("tcp://" + url + (has_port ? "" : ":53")).endpoint;
  if (!endpoint || endpoint->kind != Endpoint::Kind::Tcp || endpoint->is_port_zero()) return std::nullopt;
  if (is_link_local(endpoint->address)) return NameServer{endpoint->address, zone};
  return zone.empty() ? std::optional(NameServer{endpoint->address}) : std::nullopt;
}

std::vector<NameServer> parse_name_servers(std::string_view list) {
  std::vector<NameServer> servers;
  for (std::string_view word = take_word(list); !word.empty(); word = take_word(list))
    if (auto server = parse_bare(word)) servers.push_back(*server);
  return servers;
}

std::vector<NameServer> name_servers_of(std::string_view resolv_conf) {
  std::vector<NameServer> servers;
  while (!resolv_conf.empty()) {
    std::string_view line = resolv_conf.substr(0, resolv_conf.find('\n'));
    resolv_conf.remove_prefix(std::min(line.size() + 1, resolv_conf.size()));
    line = line.substr(0, line.find_first_of("#;"));
    if (!line.starts_with(kKeyword)) continue;
    line.remove_prefix(kKeyword.size());
    if (line.empty() || kBlanks.find(line[0]) == std::string_view::npos) continue;
    for (NameServer& server : parse_name_servers(line)) servers.push_back(std::move(server));
  }
  return servers;
}

}  // namespace cloudbus
