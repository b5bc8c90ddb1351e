// SPDX-License-Identifier: Apache-2.0
#pragma once

// The Dynamic Delegation Discovery System: from the name of a service to its servers, by rewriting rules out of DNS.
// RFC 3402 is the algorithm, RFC 3403 its records in DNS, RFC 3404 the application whose flags and fields are used
// here.
//
// It does no I/O. It says what is to be looked up, is given the records that were found, and says what is next.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cloudbus/core/time.h"

namespace cloudbus {

// A rule. RFC 3403, section 4.1.
struct NaptrRecord {
  std::uint16_t order = 0;       // low numbers first; no other one is looked at when a rule of it has matched
  std::uint16_t preference = 0;  // low numbers first, within an order
  std::string flags, services;
  std::string regexp;             // a substitution expression, or nothing
  std::string replacement = ".";  // a name, "." for none
  Duration ttl{};

  bool operator==(const NaptrRecord&) const = default;
};

// One run of the algorithm of RFC 3402, section 3.3.
//
// A rule fits if its substitution gives something, its services are empty or have the name of ours among the parts that
// "+" separates (RFC 3404, section 4.4; the name may be the protocol's or a service's), and its flags are one of "s",
// "a", "u", or none for another lookup (section 4.3; in either case). Otherwise it is passed over:
//  - as if it were not there, if it has a flag that is unknown, or two of "s", "a", "u" and "p", which exclude each
//  other;
//    if it has both an expression and a replacement; and if its expression is an error;
//  - as one that matched, so that no higher order is looked at (section 6), if only its services do not fit, if its
//  flag
//    is "p", by which the rest is up to a protocol that is not known here, or if what it gives is no name, or no URI.
// A lookup that fails is the end: other rules are not returned to (RFC 3403, section 8).
class Ddds {
 public:
  // What is to be done:
  struct Lookup {  // look up the NAPTR records of a name, and call on_records()
    std::string key;
  };
  struct Srv {  // flag "s": the servers are in the SRV records of the name
    std::string name;
  };
  struct Host {  // flag "a": the addresses of the name are those of the servers
    std::string name;
  };
  struct Uri {  // flag "u": printable ASCII characters; that it is a URI is not checked
    std::string text;
  };
  struct Failure {  // nothing: in printable ASCII characters, for a log
    std::string reason;
  };
  using Step = std::variant<Lookup, Srv, Host, Uri, Failure>;

  static constexpr std::size_t kMaxLookups = 16;

  // `string` is the application unique string, to which all expressions are applied. `first_key` is what the first well
  // known rule made of it. `service` is our name in services fields.
  Ddds(std::string string, std::string_view first_key, std::string service = "bus");

  const Step& step() const { return step_; }

  // The answer to a Lookup: all the records of its key, or none.
  const Step& on_records(std::span<const NaptrRecord> records);

  // How long the step is valid: the shortest of all records that led to it. RFC 3403, section 3.
  Duration ttl() const { return ttl_; }

 private:
  Step apply(std::span<const NaptrRecord> records);
  Step follow(const NaptrRecord& rule, const std::string& output);
  Step look_up(const std::string& key);
  std::string misfit(const NaptrRecord& rule, const std::string& output) const;

  std::string string_, service_;
  std::vector<std::string> keys_;  // that were looked up, in order
  Duration ttl_ = Duration::max();
  Step step_;
};

}  // namespace cloudbus
