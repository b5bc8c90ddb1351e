// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/names/ddds.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cloudbus/core/names/dns_name.h"
#include "cloudbus/core/names/substitution.h"

namespace cloudbus {
namespace {

constexpr std::size_t kMaxReasons = 3;  // in the words of a failure

// RFC 3404, section 4.3.
enum class Kind { NotTerminal, Srv, Host, Uri, Protocol, Unknown, Contradictory };

Kind kind_of(const NaptrRecord& rule) {
  const std::string flags = lower_case(rule.flags);
  if (flags.empty()) return Kind::NotTerminal;
  if (flags.find_first_not_of("saup") != std::string::npos) return Kind::Unknown;
  if (flags.find_first_not_of(flags[0]) != std::string::npos) return Kind::Contradictory;
  switch (flags[0]) {
    case 's': return Kind::Srv;
    case 'a': return Kind::Host;
    case 'u': return Kind::Uri;
  }
  return Kind::Protocol;
}

// What the rule makes of the string, or why the rule is ignored.
Substitution rewrite(const NaptrRecord& rule, const std::string& string) {
  const bool has_replacement = rule.replacement != ".";
  if (kind_of(rule) == Kind::Unknown) return {{}, "it has an unknown flag"};
  if (kind_of(rule) == Kind::Contradictory) return {{}, "its flags exclude each other"};
  if (!rule.regexp.empty() && has_replacement) return {{}, "it has both an expression and a replacement"};
  if (has_replacement) return {normal_name(rule.replacement), {}};
  Substitution made = rule.regexp.empty() ? Substitution() : substitute(rule.regexp, string);
  if (made.error.empty() && made.result.empty()) made.error = "it does not match";
  if (kind_of(rule) != Kind::Uri) made.result = normal_name(made.result);
  return made;
}

// RFC 3404, section 4.4: [ [protocol] *("+" rs) ].
bool names_service(std::string_view services, std::string_view service) {
  for (;;) {
    const std::size_t plus = services.find('+');
    if (lower_case(services.substr(0, plus)) == service) return true;
    if (plus == std::string_view::npos) return false;
    services.remove_prefix(plus + 1);
  }
}

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7F'; });
}

std::vector<const NaptrRecord*> in_order(std::span<const NaptrRecord> records) {
  std::vector<const NaptrRecord*> rules;
  for (const NaptrRecord& record : records) rules.push_back(&record);
  std::ranges::stable_sort(rules, {}, [](const NaptrRecord* rule) { return std::pair(rule->order, rule->preference); });
  return rules;
}

}  // namespace

Ddds::Ddds(std::string string, std::string_view first_key, std::string_view service)
    : string_(std::move(string)), service_(lower_case(service)) {
  step_ = look_up(normal_name(first_key));
}

const Ddds::Step& Ddds::on_records(std::span<const NaptrRecord> records) {
  if (!std::holds_alternative<Lookup>(step_)) return step_;
  for (const NaptrRecord& record : records) ttl_ = std::min(ttl_, record.ttl);
  return step_ = apply(records);
}

Ddds::Step Ddds::apply(std::span<const NaptrRecord> records) {
  if (records.empty()) return Failure{keys_.back() + " has no NAPTR records"};
  std::vector<std::string> reasons;
  const NaptrRecord* matched = nullptr;
  for (const NaptrRecord* rule : in_order(records)) {
    if (matched && rule->order != matched->order) break;
    auto [output, reason] = rewrite(*rule, string_);
    if (reason.empty()) {
      matched = rule;
      reason = misfit(*rule, output);
      if (reason.empty()) return follow(*rule, output);
    }
    reasons.push_back(fmt::format("order {} preference {}: {}", rule->order, rule->preference, reason));
  }
  const std::size_t more = reasons.size() - std::min(reasons.size(), kMaxReasons);
  reasons.resize(reasons.size() - more);
  return Failure{fmt::format("no NAPTR record of {} fits: {}{}", keys_.back(), fmt::join(reasons, "; "),
                             more == 0 ? "" : fmt::format("; and {} more", more))};
}

// Why a rule that matched is not followed, or nothing.
std::string Ddds::misfit(const NaptrRecord& rule, const std::string& output) const {
  const Kind kind = kind_of(rule);
  if (kind == Kind::Protocol) return "its flag leaves the rest to a protocol of its own";
  if (!rule.services.empty() && !names_service(rule.services, service_)) return "its services do not name " + service_;
  if (kind == Kind::Uri) return rule.regexp.empty() || !is_printable(output) ? "what it gives is no URI" : "";
  return is_host_name(output) ? "" : "what it gives is no domain name";
}

Ddds::Step Ddds::follow(const NaptrRecord& rule, const std::string& output) {
  switch (kind_of(rule)) {
    case Kind::Srv: return Srv{output};
    case Kind::Host: return Host{output};
    case Kind::Uri: return Uri{output};
    case Kind::NotTerminal:
    case Kind::Protocol:
    case Kind::Unknown:
    case Kind::Contradictory: break;  // the last three never fit
  }
  return look_up(output);
}

Ddds::Step Ddds::look_up(const std::string& key) {
  if (!is_host_name(key)) return Failure{"the first key is no domain name"};
  if (std::ranges::find(keys_, key) != keys_.end()) {
    return Failure{fmt::format("the NAPTR records of {} lead back to {}", keys_.back(), key)};
  }
  if (keys_.size() == kMaxLookups) {
    return Failure{
        fmt::format("{} lookups of NAPTR records led to no server, the last that of {}", kMaxLookups, keys_.back())};
  }
  keys_.push_back(key);
  return Lookup{key};
}

}  // namespace cloudbus
