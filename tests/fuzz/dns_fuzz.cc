// SPDX-License-Identifier: Apache-2.0
// Any bytes from a DNS server. The first byte chooses whether the others are a whole answer, whose NAPTR records are
// then followed, or the expression in one such record.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "cloudbus/core/names/ddds.h"
#include "cloudbus/core/names/dns_name.h"
#include "cloudbus/core/names/srv.h"
#include "cloudbus/core/names/substitution.h"
#include "cloudbus/net/dns_answer.h"

namespace {

using namespace cloudbus;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

void check_name(const std::string& name) {
  require(!name.empty() && name.size() <= 4 * 255, "a name's size");
  require(name == normal_name(name), "a name in its normal form");
}

void check_step(const Ddds::Step& step) {
  if (auto* lookup = std::get_if<Ddds::Lookup>(&step)) require(is_host_name(lookup->key), "a key is a name");
  if (auto* srv = std::get_if<Ddds::Srv>(&step)) require(is_host_name(srv->name), "a service is a name");
  if (auto* host = std::get_if<Ddds::Host>(&step)) require(is_host_name(host->name), "a host is a name");
  if (auto* uri = std::get_if<Ddds::Uri>(&step)) require(!uri->text.empty(), "a URI is not empty");
  if (auto* failure = std::get_if<Ddds::Failure>(&step)) require(!failure->reason.empty(), "a reason");
}

// The same records for every key.
void follow(std::span<const NaptrRecord> records) {
  Ddds ddds("urn:bus:orders", "bus.urn.arpa");
  std::size_t lookups = 0;
  for (; std::holds_alternative<Ddds::Lookup>(ddds.step()); lookups++) check_step(ddds.on_records(records));
  require(lookups <= Ddds::kMaxLookups, "an end");
}

// Whether there are records, whose TTLs then hold.
template <class Record>
bool check(const DnsAnswer<Record>& answer) {
  if (auto* failure = std::get_if<DnsFailure>(&answer)) require(!failure->reason.empty(), "a reason");
  if (auto* absence = std::get_if<DnsAbsence>(&answer)) require(absence->ttl >= Duration(), "a TTL");
  auto* found = std::get_if<DnsRecords<Record>>(&answer);
  if (!found) return false;
  require(!found->records.empty() && found->ttl >= Duration(), "records");
  for (const Record& record : found->records) require(record.ttl >= found->ttl, "the shortest TTL");
  return true;
}

void check_message(Bytes message) {
  check(parse_ipv4_answer(message));
  check(parse_ipv6_answer(message));
  auto srv = parse_srv_answer(message);
  if (check(srv)) {
    const auto& records = std::get<DnsRecords<SrvRecord>>(srv).records;
    for (const SrvRecord& record : records) check_name(record.target);
    require(srv_order(records, [](std::uint64_t n) { return n - 1; }).size() <= records.size(), "each record once");
  }
  auto naptr = parse_naptr_answer(message);
  if (check(naptr)) {
    const auto& records = std::get<DnsRecords<NaptrRecord>>(naptr).records;
    for (const NaptrRecord& record : records) check_name(record.replacement);
    follow(records);
  }
}

void check_expression(std::string_view expression) {
  Substitution made = substitute(expression, "urn:bus:orders");
  require(made.result.empty() || made.error.empty(), "a result or an error");
  require(made.result.size() <= kMaxSubstitution, "a result's size");
  NaptrRecord record;
  record.regexp = expression;
  follow({&record, 1});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  Bytes bytes(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  if (data[0] & 1) {
    check_expression(as_text(bytes));
  } else {
    check_message(bytes);
  }
  return 0;
}
