// SPDX-License-Identifier: Apache-2.0
#pragma once

// Uniform Resource Names (RFC 8141), "urn:NID:NSS", as names of services.

#include <optional>
#include <string>
#include <string_view>

namespace cloudbus {

struct Urn {
  std::string text;  // normalised, so that equivalent URNs are equal: RFC 8141, section 3.1
  std::string nid;   // the namespace, in lower case
};

// A URN by RFC 8141, section 2, without the components that may follow it behind a ? or #; nothing if `text` is none.
std::optional<Urn> parse_urn(std::string_view text);

// The first well known rule of RFC 3404, section 4.2, and its key in DNS, section 4.5: "bus.urn.arpa".
std::string first_key(const Urn& urn, std::string_view zone = "urn.arpa");

}  // namespace cloudbus
