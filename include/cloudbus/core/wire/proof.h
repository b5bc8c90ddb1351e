// SPDX-License-Identifier: Apache-2.0
#pragma once

// Proof that an end of a session knows its secret: doc/protocol.md, section 9.2.

#include <array>
#include <cstddef>
#include <cstdint>

#include "cloudbus/core/base/uuid.h"
#include "cloudbus/core/wire/codes.h"

namespace cloudbus {

using Secret = std::array<std::byte, 32>;
using Nonce = std::array<std::byte, 16>;
using Proof = std::array<std::byte, 32>;  // HMAC-SHA-256, RFC 2104

// What an end claims when a session is resumed. The nonces are from the HELLOs of the new link.
struct ResumeClaim {
  Role role;  // of the end that claims
  Uuid session{};
  Nonce controller{}, segment{};
  std::uint64_t epoch = 0;
  std::uint64_t position = 0;  // up to which that end has its peer's bytes
};

Proof prove(const ResumeClaim& claim, const Secret& secret);

// Takes the same time for any proof.
bool is_proven(const ResumeClaim& claim, const Secret& secret, const Proof& proof);

}  // namespace cloudbus
