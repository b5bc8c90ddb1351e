// SPDX-License-Identifier: Apache-2.0
#pragma once

// The addresses of a host, put together from the answers to its A and AAAA queries. Knows no sockets.
//
// Both queries are sent at once. When one was answered with addresses, these are available after a short delay, whether
// the other is answered or not: RFC 8305, section 3. The next name of the search list is looked up when both answers
// say that there is nothing.

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "cloudbus/core/base/time.h"
#include "cloudbus/net/dns_answer.h"

namespace cloudbus {

class HostLookup {
 public:
  static constexpr Duration kResolutionDelay = std::chrono::milliseconds(50);
  enum class Family : unsigned char { Ipv4, Ipv6 };
  enum class State : unsigned char {
    Asking,   // both queries for name() are to be sent
    Waiting,  // for the answers
    Over,
  };

  // `names`: at least one, in the order in which they are looked up.
  explicit HostLookup(std::vector<std::string> names) : names_(std::move(names)) {}

  State state() const { return state_; }
  const std::string& name() const { return names_[at_]; }
  void ask() { state_ = State::Waiting; }
  // The answers to both queries follow ask(), each once.
  void on_answer(Family family, DnsAnswer<HostRecord> answer, Time now);

  // When the addresses of one family are used although the other has not been answered; Time::max() without addresses.
  Time part_at() const { return part_at_; }

  // What is known, in the order of the families. A family whose query failed or was not answered is `unknown` beside
  // the addresses of the other family; without such addresses the whole answer is a failure.
  struct Result {
    DnsAnswer<HostRecord> answer;
    int unknown = AF_UNSPEC;
  };
  Result result() const;

 private:
  using Half = std::optional<DnsAnswer<HostRecord>>;

  std::vector<std::string> names_;
  std::size_t at_ = 0;
  State state_ = State::Asking;
  std::array<Half, 2> halves_;  // by family
  Time part_at_ = Time::max();
  DnsAbsence absence_;  // what the answers so far say together; the TTL is the least of them
};

}  // namespace cloudbus
