// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/hosts_table.h"

#include <arpa/inet.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "cloudbus/core/names/dns_name.h"

namespace cloudbus {
namespace {

constexpr std::string_view kBlanks = " \t\r\f\v";

// Without its comment.
std::string_view line_at(std::string_view text, std::size_t start) {
  std::string_view line = text.substr(start, text.find('\n', start) - start);
  return line.substr(0, line.find('#'));
}

// Empty at the end.
std::string_view take_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
  std::string_view word = line.substr(0, line.find_first_of(kBlanks));
  line.remove_prefix(word.size());
  return word;
}

std::optional<Address> parse_numeric(std::string_view word) {
  const std::string text(word);
  sockaddr_in in{};
  in.sin_family = AF_INET;
  if (inet_pton(AF_INET, text.c_str(), &in.sin_addr) == 1)
    return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&in), sizeof in);
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  if (inet_pton(AF_INET6, text.c_str(), &in6.sin6_addr) == 1)
    return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&in6), sizeof in6);
  return std::nullopt;
}

std::uint32_t hash_of(std::string_view lower) {
  return static_cast<std::uint32_t>(XXH64(lower.data(), lower.size(), 0));
}

}  // namespace

HostsTable::HostsTable(std::string text) : text_(std::move(text)) {
  for (std::size_t start = 0; start < text_.size();) {
    std::string_view line = line_at(text_, start);
    take_word(line);
    while (true) {
      std::string_view name = take_word(line);
      if (name.empty()) break;
      entries_.push_back({hash_of(lower_case(name)), static_cast<std::uint32_t>(start)});
    }
    std::size_t end = text_.find('\n', start);
    start = end == std::string::npos ? text_.size() : end + 1;
  }
  std::ranges::sort(entries_);
}

std::vector<Address> HostsTable::find(std::string_view name) const {
  std::vector<Address> found;
  const std::string wanted = lower_case(name);
  auto entry = std::ranges::lower_bound(entries_, Entry{hash_of(wanted), 0});
  for (; entry != entries_.end() && entry->hash == hash_of(wanted); ++entry) {
    std::string_view line = line_at(text_, entry->line);
    auto address = parse_numeric(take_word(line));
    std::string_view word = take_word(line);
    while (!word.empty() && lower_case(word) != wanted) word = take_word(line);
    if (address && !word.empty() && std::ranges::find(found, *address) == found.end()) found.push_back(*address);
  }
  return found;
}

}  // namespace cloudbus
