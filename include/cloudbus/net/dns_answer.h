// SPDX-License-Identifier: Apache-2.0
#pragma once

// What an answer from a DNS server says (RFC 1035, section 4.1), with the times for which it may be kept: c-ares 1.18
// does not tell those of SRV and NAPTR records, nor for how long there will be none of any type.

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

// The records of the name that was asked for, or of the one that it is an alias of. There is at least one. No TTL is
// longer than those of the aliases (CNAME) on the way.
template <class Record>
struct DnsRecords {
  std::vector<Record> records;
  Duration ttl{};  // the shortest
};

// There are none. RFC 2308, section 2: the name does not exist (NXDOMAIN), or has no records of the type (NODATA).
struct DnsAbsence {
  bool has_name = false;
  Duration ttl{};  // section 5; 0, not to be kept, if the server did not say
};

// Nothing is known. The reason is printable: "SERVFAIL", or words.
struct DnsFailure {
  std::string reason;
};

template <class Record>
using DnsAnswer = std::variant<DnsRecords<Record>, DnsAbsence, DnsFailure>;

// `message` is the whole answer to one question for records of the type. That the question was ours, and the answer is
// from where it was sent to, is for the caller to know. Names are in their normal form (dns_name.h). Spaces, dots,
// backslashes and unprintable bytes within their labels are written as \DDD: RFC 1035, section 5.1.
DnsAnswer<HostRecord> parse_ipv4_answer(Bytes message);
DnsAnswer<HostRecord> parse_ipv6_answer(Bytes message);
DnsAnswer<SrvRecord> parse_srv_answer(Bytes message);
DnsAnswer<NaptrRecord> parse_naptr_answer(Bytes message);

}  // namespace cloudbus
