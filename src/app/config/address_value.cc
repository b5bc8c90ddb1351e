// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/address_value.h"

#include <string>

namespace cloudbus {
namespace {

constexpr std::string_view kBinds = "tcp://IPV4:PORT, tcp://[IPV6]:PORT, unix:///PATH, unix:@NAME and systemd:NAME";
constexpr std::string_view kSegments =
    "tcp://HOST:PORT, tcp://IPV4:PORT, tcp://[IPV6]:PORT, unix:///PATH, unix:@NAME, srv:NAME, urn:bus:NAME and "
    "naptr:NAME";
constexpr std::string_view kServers =
    "tcp://HOST:PORT, tcp://IPV4:PORT, tcp://[IPV6]:PORT, unix:///PATH, unix:@NAME, srv:NAME, urn:bus:NAME, "
    "naptr:NAME, builtin:echo and builtin:discard";

EndpointRules rules_of(Role role, Place place) {
  if (place == Place::Bind) return {kBinds, 0};
  return {role == Role::Controller ? kSegments : kServers, 1};
}

// Why an address cannot stand at its place, or nothing.
std::string bind_error(const Endpoint& endpoint) {
  if (endpoint.is_builtin()) return "this is no address to listen at, but a segment's server";
  if (endpoint.is_name()) return "this is a name, and a bind has a numeric address";
  if (endpoint.address.is_mapped())
    return "an IPv6 socket takes no IPv4 clients here; the address is written as tcp://10.0.0.2:80, and any IPv6 "
           "address in a bind of its own";
  return {};
}

std::string server_error(Role role, const Endpoint& endpoint) {
  if (endpoint.is_builtin() && role == Role::Controller)
    return "segments serve this, and a controller reaches a segment";
  if (endpoint.kind == Endpoint::Kind::Systemd) return "this is a socket to listen at, and no server";
  if (endpoint.is_port_zero()) return "nothing can be reached at port 0; allowed are 1 to 65535";
  return {};
}

// The name of a Unix socket takes nearly any bytes, also those of a list or of a comment.
std::string unix_error(const Endpoint& endpoint, std::string_view text) {
  if (!endpoint.address.is_unix()) return {};
  for (std::size_t at = 1; at < text.size(); ++at) {
    if (text[at - 1] != ' ' && text[at - 1] != '\t' && text[at - 1] != ',') continue;
    std::string_view word = text.substr(at);
    if (word.starts_with('#')) return "a comment behind a value begins with a ;, and no name has a # behind a space";
    if (word.starts_with("unix:") || word.starts_with("tcp://")) return "this is more than one address; a line has one";
  }
  return {};
}

}  // namespace

Parsed<Endpoint> parse_address(Role role, Place place, std::string_view text) {
  const EndpointRules rules = rules_of(role, place);
  auto [endpoint, error] = parse_endpoint(text, rules);
  if (endpoint) error = place == Place::Bind ? bind_error(*endpoint) : server_error(role, *endpoint);
  if (error.empty()) error = unix_error(*endpoint, text);
  if (error.empty() && endpoint->address.is_link_local() && endpoint->address.zone().empty())
    error = "a link-local address needs a zone, the name of an interface; write tcp://[fe80::1%eth0]:80";
  if (error.empty()) return {*endpoint, {}};
  if (error.find(';') == std::string::npos) error += "; allowed here are " + std::string(rules.allowed);
  return {std::nullopt, quoted(text) + ": " + error};
}

}  // namespace cloudbus
