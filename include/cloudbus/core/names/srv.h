// SPDX-License-Identifier: Apache-2.0
#pragma once

// SRV records (RFC 2782), and the order in which a client tries them.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cloudbus/core/base/time.h"

namespace cloudbus {

struct SrvRecord {
  std::uint16_t priority = 0;  // low numbers first; higher ones only when no server of a lower one remains
  std::uint16_t weight = 0;    // among the records of a priority
  std::uint16_t port = 0;
  std::string target;  // a normal name (dns_name.h); "." is none
  Duration ttl{};

  bool operator==(const SrvRecord&) const = default;
};

// Draws a number from 0 to n - 1, all equally likely; n is at least 1, and may be more than 2^32.
using Draw = std::function<std::uint64_t(std::uint64_t n)>;

// Whether the records say that there is no such service: a single record, with the target ".". "Usage rules".
bool is_no_service(std::span<const SrvRecord> records);

// The indices of the records in the order in which to try them, drawn again for each client: "Usage rules", and
// "Weight" in "The format of the SRV RR". Records with the target "." are left out.
//
// The RFC draws from 0 to the sum of the weights, both included, which gives the first record one share too many: with
// two weights of 1 it would be chosen twice as often as the second, and the RFC's own example of 1 and 3 would become 2
// and 3. Here a weight of w has exactly w shares. A weight of 0 has "a very small chance" beside others, a thousandth
// of a share; where all weights are 0 the chances are equal.
std::vector<std::size_t> srv_order(std::span<const SrvRecord> records, const Draw& draw);

}  // namespace cloudbus
