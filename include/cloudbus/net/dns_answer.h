// SPDX-License-Identifier: Apache-2.0
#pragma once

// Parses an answer of a DNS server (RFC 1035, section 4.1), with the times for which it may be cached: c-ares 1.18
// gives neither the TTLs of SRV and NAPTR records nor, for any type, how long an absence may be cached.

#include <string>
#include <variant>
#include <vector>

#include "cloudbus/core/base/bytes.h"
#include "cloudbus/core/base/time.h"
#include "cloudbus/core/names/ddds.h"
#include "cloudbus/core/names/srv.h"
#include "cloudbus/net/address.h"

namespace cloudbus {

// An A or an AAAA record. The port is 0.
struct HostRecord {
  Address address;
  Duration ttl{};
};

// The records of the name in the question, or of the name that it is an alias of. There is at least one record. No TTL
// is longer than those of the aliases (CNAME) that led to the record.
template <class Record>
struct DnsRecords {
  std::vector<Record> records;
  Duration ttl{};  // the shortest
};

// There are no records. RFC 2308, section 2: the name does not exist (NXDOMAIN), or has none of the type (NODATA).
struct DnsAbsence {
  bool has_name = false;
  Duration ttl{};  // section 5; 0, not to be cached, if the server did not say
};

// Nothing is known. The reason is printable: "SERVFAIL", or words.
struct DnsFailure {
  std::string reason;
};

template <class Record>
using DnsAnswer = std::variant<DnsRecords<Record>, DnsAbsence, DnsFailure>;

// `message` is the whole answer to one question for records of the type. The caller checks that it answers our question
// and comes from the server that was asked. Names are in their normal form (dns_name.h). Spaces, dots, backslashes and
// unprintable bytes within labels are written as \DDD: RFC 1035, section 5.1.
DnsAnswer<HostRecord> parse_ipv4_answer(Bytes message);
DnsAnswer<HostRecord> parse_ipv6_answer(Bytes message);
DnsAnswer<SrvRecord> parse_srv_answer(Bytes message);
DnsAnswer<NaptrRecord> parse_naptr_answer(Bytes message);

}  // namespace cloudbus
