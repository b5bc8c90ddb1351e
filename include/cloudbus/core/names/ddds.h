// SPDX-License-Identifier: Apache-2.0
#pragma once

// The Dynamic Delegation Discovery System: from the name of a service to its servers, by rewriting rules from DNS. RFC
// 3402 has the algorithm, RFC 3403 its DNS records, RFC 3404 the application that defines the flags and fields here.
//
// It does no I/O: it says what to look up, is given the records that were found, and says what to do next.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cloudbus/core/base/time.h"

namespace cloudbus {

// A rule. RFC 3403, section 4.1.
struct NaptrRecord {
  std::uint16_t order = 0;       // low numbers first; once a rule matched, no higher order is looked at
  std::uint16_t preference = 0;  // low numbers first, within an order
  std::string flags, services;
  std::string regexp;             // a substitution expression, or nothing
  std::string replacement = ".";  // a name, "." for none
  Duration ttl{};

  bool operator==(const NaptrRecord&) const = default;
};

// One run of the algorithm of RFC 3402, section 3.3. A rule is followed if
//   - its flags (RFC 3404, section 4.3, in either case) are "s", "a", "u", or none, which leads to another lookup,
//   - its substitution gives something, which is a host name (dns_name.h), or for "u" what a URI may be, and
//   - its services (section 4.4) are empty, or our name is among the parts that "+" separates.
//
// A rule whose substitution has given something, but that is not followed, still excludes higher orders (section 6).
// That includes rules with the flag "p", which leaves the rest to another protocol. A rule is ignored altogether if it
// has an unknown flag; two of "s", "a", "u" and "p", which exclude each other; both an expression and a replacement
// (RFC 3403, section 4.1); or an expression that is an error.
//
// A failed lookup is the end: no other rule is tried (RFC 3403, section 8).
class Ddds {
 public:
  // Look up the NAPTR records of `key`, and give them to on_records().
  struct Lookup {
    std::string key;
  };
  // "s": the servers are in the SRV records of a name.
  struct Srv {
    std::string name;
  };
  // "a": the servers are at the addresses of a name.
  struct Host {
    std::string name;
  };
  // "u": printable ASCII without spaces; whether it is a URI, and one of ours, is not checked.
  struct Uri {
    std::string text;
  };
  // Nothing was found. The reason is printable.
  struct Failure {
    std::string reason;
  };
  using Step = std::variant<Lookup, Srv, Host, Uri, Failure>;

  static constexpr std::size_t kMaxLookups = 16;

  // `string` is the application unique string, to which all expressions are applied; `first_key` is what the first well
  // known rule makes of it; `service` is our name in services.
  Ddds(std::string string, std::string_view first_key, std::string_view service = "bus");

  const Step& step() const { return step_; }

  // The answer to a Lookup: all the records of its key, or none.
  const Step& on_records(std::span<const NaptrRecord> records);

  // How long the step is valid: the least TTL of all records that led to it (RFC 3402, section 3.3, note 2), or the
  // largest Duration if there were none.
  Duration ttl() const { return ttl_; }

 private:
  Step apply(std::span<const NaptrRecord> records);
  Step follow(const NaptrRecord& rule, const std::string& output);
  Step look_up(const std::string& key);
  std::string misfit(const NaptrRecord& rule, const std::string& output) const;

  std::string string_, service_;
  std::vector<std::string> keys_;  // the keys that were looked up, in order
  Duration ttl_ = Duration::max();
  Step step_;
};

}  // namespace cloudbus
