// SPDX-License-Identifier: Apache-2.0
#pragma once

// Conversation ids: UUIDs of version 7, RFC 9562, section 5.7.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace cloudbus {

using Uuid = std::array<std::byte, 16>;

// `unix_ms` is milliseconds since 1970. `random` fills all other bits but those of the version and the variant.
Uuid make_uuid_v7(std::uint64_t unix_ms, const std::array<std::uint64_t, 2>& random);

// 8-4-4-4-12 lower case hexadecimal digits.
std::string to_string(const Uuid& uuid);

}  // namespace cloudbus
