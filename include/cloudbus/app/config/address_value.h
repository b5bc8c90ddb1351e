// SPDX-License-Identifier: Apache-2.0
#pragma once

// The address of a bind or of a server. parse_endpoint() reads any address; this knows which ones each of the two
// takes.

#include <string_view>

#include "cloudbus/app/config/values.h"
#include "cloudbus/core/wire/codes.h"
#include "cloudbus/net/address.h"

namespace cloudbus {

enum class Place { Bind, Server };

// The error shows the whole value, and only what is allowed at the place.
Parsed<Endpoint> parse_address(Role role, Place place, std::string_view text);

}  // namespace cloudbus
