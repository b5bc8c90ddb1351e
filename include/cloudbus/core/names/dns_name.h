// SPDX-License-Identifier: Apache-2.0
#pragma once

// Domain names as text. Two names are the same if their normal forms are equal.

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cloudbus {

// Only ASCII letters have a case (RFC 4343, section 3), whatever the locale.
std::string lower_case(std::string_view text);

// In lower case and without the dot at its end; the root is ".".
std::string normal_name(std::string_view name);

// Whether a normal name is one that a host or an SRV record may have: labels of 1 to 63 letters, digits, hyphens and
// underscores, at most 253 bytes in all. RFC 1035, section 2.3, with the underscores of RFC 2782.
bool is_host_name(std::string_view name);

// The names that a normal name may stand for, in the order in which they are looked up: resolv.conf(5), "search" and
// "ndots". A name with at least `ndots` dots is first looked up as it is, a name with fewer dots last.
std::vector<std::string> search_names(const std::string& name, std::span<const std::string> domains, int ndots);

}  // namespace cloudbus
