// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the configured endpoints mean now: the addresses of each, kept up to date. One for each worker.

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cloudbus/app/roster/context.h"
#include "cloudbus/core/names/ddds.h"
#include "cloudbus/core/names/name_clock.h"
#include "cloudbus/core/names/srv.h"
#include "cloudbus/net/address.h"
#include "cloudbus/net/dns_answer.h"
#include "cloudbus/net/resolver.h"

namespace cloudbus {

// The addresses of an endpoint.
struct Targets {
  std::vector<Address> addresses;
  std::vector<std::uint32_t> record_of;  // of each address: its index in `records`
  std::vector<SrvRecord> records;        // none where there are no SRV records
};

class Directory {
 public:
  using Id = std::uint32_t;

  explicit Directory(Context& context);
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  // Keeps track of an endpoint until it was unwatched as often. While it is watched the same endpoint has the same id.
  // With `lazily`, its names are asked for again when their TTLs are over, otherwise only by renew().
  Id watch(const Endpoint& endpoint, bool lazily);
  // `lazily` as it was watched.
  void unwatch(Id id, bool lazily);
  // In the order of the answers. Empty while nothing is known, and when there is nothing.
  const Targets& targets(Id id) const { return entries_.at(id).targets; }
  // All that it depends on was answered, be it with nothing.
  bool is_known(Id id) const { return entries_.at(id).is_known; }
  // It is not known, and something that it depends on could not be resolved.
  bool is_in_trouble(Id id) const { return entries_.at(id).is_in_trouble; }
  // Asks for what is past its TTL. True while that is not answered: run() tells when it is.
  bool renew(Id id);

  // At the end of each turn: asks, and takes what was answered. Returns the endpoints of which that says something,
  // though it may be what was known.
  std::vector<Id> run();

  // The configuration is another one: another name server, or another zone of URNs, is asked from here on.
  void on_config();

 private:
  using Key = std::pair<Resolver::Kind, std::string>;
  struct Name {
    std::uint64_t token = 0;
    NameClock clock;
    std::set<Id> users;
    bool is_lazy = false;  // for one of its users
    bool is_told = false;  // that it cannot be resolved
    std::vector<Address> addresses;
    Time whole_at{};  // when all families were answered last
    std::vector<SrvRecord> services;
    std::vector<NaptrRecord> rules;
  };
  struct Entry {
    explicit Entry(const Endpoint& its_endpoint) : endpoint(its_endpoint) {}

    Endpoint endpoint;
    std::size_t watchers = 0, lazy_watchers = 0;
    bool is_known = false, is_in_trouble = false;
    Targets targets;
    std::set<Key> names;  // that it depends on
    std::string trouble;  // what was logged last
  };
  struct Look {  // at one entry, anew
    explicit Look(Id its_id) : id(its_id) {}

    Id id;
    bool is_known = true, is_in_trouble = false;
    bool is_expired = false;  // an answer has served too long
    std::set<Key> names;
    Targets targets;
    std::string trouble;
  };

  const Name* find(Look& look, Resolver::Kind kind, const std::string& name);
  void add(Look& look, const Address& address);
  void add_host(Look& look, const std::string& name, int port);
  void add_services(Look& look, const std::string& name);
  void add_rules(Look& look, const std::string& unique, const std::string& first_key);
  void add_uri(Look& look, const std::string& uri);
  void look_at(Id id);
  void look_who_is_lazy(Entry& entry);
  void forget(const Key& key, Id user);
  void ask(const Key& key, Name& name);
  void on_change(Resolver::Change change);
  void on_answer(Resolver::Answer& answer, std::set<Id>& touched);
  void take(Name& name, const Key& key, Resolver::Answer& answer);
  void take_addresses(Name& name, Resolver::Answer& answer);
  void read_message(Name& name, const Key& key, Resolver::Answer& answer);
  template <class Record>
  void take_records(DnsAnswer<Record> parsed, std::vector<Record>& records, Resolver::Answer& answer);
  void log_trouble(Name& name, const Key& key, const std::string& error);
  void ask_due();
  void arm();

  Context& context_;
  Resolver resolver_;
  std::unordered_map<Id, Entry> entries_;
  std::unordered_map<std::string, Id> ids_;  // by the endpoint's text
  std::map<Key, Name> names_;
  std::unordered_map<std::uint64_t, Key> tokens_;
  std::uint64_t last_token_ = 0;
  Id last_id_ = 0;
  std::string urn_zone_;
  Timer timer_{context_.timers(), [this] { is_time_ = true; }};
  bool is_time_ = false;  // for ask_due()
  Time passed_at_{};      // when arm() went over all names
};

}  // namespace cloudbus
