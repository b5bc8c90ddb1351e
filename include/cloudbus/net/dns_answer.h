// SPDX-License-Identifier: Apache-2.0
#pragma once

// What is in a DNS message: RFC 1035, section 4. c-ares 1.18 gives SRV and NAPTR records without their TTLs, and no TTL
// where there is nothing, so that these are read here.

#include <optional>
#include <vector>

#include "cloudbus/core/bytes.h"
#include "cloudbus/core/ddds.h"
#include "cloudbus/core/srv.h"

namespace cloudbus {

// The answer to one question, with its CNAMEs followed by the server. The TTL is the least of all that led to it; where
// there are no records, how long there will be none (RFC 2308, section 5), 0 if that is not said.
template <class Record>
struct DnsAnswer {
  std::vector<Record> records;
  Duration ttl{0};
};

// Nothing for a message that is damaged.
std::optional<DnsAnswer<SrvRecord>> parse_srv_answer(Bytes message);
std::optional<DnsAnswer<NaptrRecord>> parse_naptr_answer(Bytes message);

}  // namespace cloudbus
