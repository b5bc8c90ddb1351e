// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/urn.h"

#include <algorithm>
#include <cstddef>

#include "cloudbus/core/names/dns_name.h"

namespace cloudbus {
namespace {

constexpr std::string_view kScheme = "urn:";
constexpr std::size_t kMinNid = 2, kMaxNid = 32;

bool is_alphanumeric(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

bool is_nid(std::string_view nid) {
  if (nid.size() < kMinNid || nid.size() > kMaxNid || nid.starts_with('-') || nid.ends_with('-')) return false;
  return std::ranges::all_of(nid, [](char c) { return is_alphanumeric(c) || c == '-'; });
}

// Makes the percent encodings upper case. Returns whether `nss` is the NSS of a URN.
bool normalize_nss(std::string& nss) {
  for (std::size_t i = 0; i < nss.size(); i++) {
    if (nss[i] == '%') {
      if (i + 2 >= nss.size() || !is_hex(nss[i + 1]) || !is_hex(nss[i + 2])) return false;
      std::transform(nss.begin() + i, nss.begin() + i + 3, nss.begin() + i, to_upper);
      i += 2;
    } else if (!is_alphanumeric(nss[i]) && std::string_view("-._~!$&'()*+,;=:@/").find(nss[i]) == std::string::npos) {
      return false;
    }
  }
  return !nss.empty() && nss[0] != '/';
}

}  // namespace

std::optional<Urn> parse_urn(std::string_view text) {
  if (lower_case(text.substr(0, kScheme.size())) != kScheme) return std::nullopt;
  text.remove_prefix(kScheme.size());
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || !is_nid(text.substr(0, colon))) return std::nullopt;
  std::string nid = lower_case(text.substr(0, colon)), nss(text.substr(colon + 1));
  if (!normalize_nss(nss)) return std::nullopt;
  return Urn{std::string(kScheme) + nid + ":" + nss, nid};
}

std::string first_key(const Urn& urn, std::string_view zone) { return normal_name(urn.nid + "." + std::string(zone)); }

}  // namespace cloudbus
