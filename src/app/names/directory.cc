// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/names/directory.h"

#include <algorithm>

#include "cloudbus/app/log/log.h"
#include "cloudbus/core/names/urn.h"

namespace cloudbus {
namespace {

constexpr int kDefaultPort = 7900;                       // where rules give a host and no port
constexpr Duration kNegative = std::chrono::seconds(5);  // where the answer does not say how long there will be nothing

// DNS queries of a process, which its workers share. More at once overrun small servers.
constexpr std::size_t kMostUnderWay = 100;
constexpr Duration kPace = std::chrono::milliseconds(10);  // between two passes over all names, at least
// How often the system's files are looked at, while a name is unknown and otherwise.
constexpr Duration kLookSoon = std::chrono::seconds(1), kLook = std::chrono::seconds(10);

std::string_view what(Resolver::Kind kind) {
  switch (kind) {
    case Resolver::Kind::Host: return "addresses";
    case Resolver::Kind::Srv: return "SRV records";
    case Resolver::Kind::Naptr: return "NAPTR records";
  }
  return "";
}

}  // namespace

Directory::Directory(Context& context)
    : context_(context),
      resolver_(context.loop(), context.config().nameservers,
                kMostUnderWay / static_cast<std::size_t>(context.config().threads)),
      urn_zone_(context.config().urn_zone) {}

Directory::Id Directory::watch(const Endpoint& endpoint, bool lazily) {
  auto [found, is_new] = ids_.try_emplace(endpoint.to_string(), last_id_ + 1);
  Id id = found->second;
  if (is_new) entries_.try_emplace(++last_id_, endpoint);
  Entry& entry = entries_.at(id);
  entry.watchers++;
  if (lazily) entry.lazy_watchers++;
  if (is_new) look_at(id);
  if (lazily && entry.lazy_watchers == 1) look_who_is_lazy(entry);
  arm();
  return id;
}

void Directory::unwatch(Id id, bool lazily) {
  Entry& entry = entries_.at(id);
  entry.watchers--;
  if (lazily && --entry.lazy_watchers == 0) look_who_is_lazy(entry);
  if (entry.watchers > 0) return;
  for (const Key& key : entry.names) forget(key, id);
  ids_.erase(entry.endpoint.to_string());
  entries_.erase(id);
}

// Whether its names are renewed in the background.
void Directory::look_who_is_lazy(Entry& entry) {
  for (const Key& key : entry.names) {
    Name& name = names_.at(key);
    name.is_lazy = std::ranges::any_of(name.users, [this](Id user) { return entries_.at(user).lazy_watchers > 0; });
  }
}

void Directory::on_config() {
  const Config& config = context_.config();
  resolver_.set_servers(config.nameservers);
  if (config.urn_zone == urn_zone_) return;
  urn_zone_ = config.urn_zone;
  for (auto& [id, entry] : entries_)
    if (entry.endpoint.kind == Endpoint::Kind::Urn) look_at(id);
  arm();
}

// --- What an endpoint means, by what is known --------------------------------------------------------------------

void Directory::look_at(Id id) {
  const Endpoint& endpoint = entries_.at(id).endpoint;
  Look look(id);
  switch (endpoint.kind) {
    case Endpoint::Kind::Host: add_host(look, endpoint.name, endpoint.port); break;
    case Endpoint::Kind::Srv: add_services(look, endpoint.name); break;
    case Endpoint::Kind::Urn:
      if (auto urn = parse_urn(endpoint.name)) add_rules(look, urn->text, first_key(*urn, urn_zone_));
      break;
    case Endpoint::Kind::Naptr: add_rules(look, endpoint.name, endpoint.name); break;
    case Endpoint::Kind::Systemd: break;  // a bind
    case Endpoint::Kind::Tcp:
    case Endpoint::Kind::Unix:
    case Endpoint::Kind::Abstract:
    case Endpoint::Kind::BuiltinEcho:
    case Endpoint::Kind::BuiltinDiscard: add(look, endpoint.address); break;
  }
  Entry& entry = entries_.at(id);
  for (const Key& key : entry.names)
    if (!look.names.contains(key)) forget(key, id);
  entry.names = std::move(look.names);
  if (!look.trouble.empty() && look.trouble != entry.trouble)
    log_line(LogLevel::Warning, "name", "cannot be used", {{"name", endpoint.to_string()}, {"reason", look.trouble}});
  entry.trouble = std::move(look.trouble);
  // What is known serves until all of the new is.
  entry.is_in_trouble = !look.is_known && look.is_in_trouble;
  if (!look.is_known && entry.is_known && !look.is_expired) return;
  entry.is_known = look.is_known;
  entry.targets = std::move(look.targets);
}

// Null while it is not known; then it has been asked for.
const Directory::Name* Directory::find(Look& look, Resolver::Kind kind, const std::string& text) {
  Key key{kind, text};
  Name& name = names_[key];
  look.names.insert(key);
  name.users.insert(look.id);
  name.is_lazy |= entries_.at(look.id).lazy_watchers > 0;
  if (!name.clock.has_answer() && name.clock.is_due(context_.now())) ask(key, name);
  if (name.clock.serves(context_.now())) return &name;
  look.is_known = false;
  look.is_in_trouble |= name.clock.has_failed();
  look.is_expired |= name.clock.has_answer();
  return nullptr;
}

// Once, though several records may have it.
void Directory::add(Look& look, const Address& address) {
  Targets& targets = look.targets;
  if (std::ranges::find(targets.addresses, address) != targets.addresses.end()) return;
  targets.addresses.push_back(address);
  targets.record_of.push_back(targets.records.empty() ? 0 : static_cast<std::uint32_t>(targets.records.size() - 1));
}

void Directory::add_host(Look& look, const std::string& host, int port) {
  const Name* name = find(look, Resolver::Kind::Host, host);
  if (!name) return;
  for (const Address& address : name->addresses) add(look, address.with_port(port));
}

void Directory::add_services(Look& look, const std::string& service) {
  const Name* name = find(look, Resolver::Kind::Srv, service);
  if (!name) return;
  for (const SrvRecord& record : name->services) {
    look.targets.records.push_back(record);
    if (record.target != ".") add_host(look, record.target, record.port);
  }
}

// RFC 3401 to 3404: see core/ddds.h.
void Directory::add_rules(Look& look, const std::string& unique, const std::string& first_key) {
  Ddds ddds(unique, first_key);
  while (auto* lookup = std::get_if<Ddds::Lookup>(&ddds.step())) {
    const Name* name = find(look, Resolver::Kind::Naptr, lookup->key);
    if (!name) return;
    ddds.on_records(name->rules);
  }
  if (auto* failure = std::get_if<Ddds::Failure>(&ddds.step())) look.trouble = failure->reason;
  if (auto* srv = std::get_if<Ddds::Srv>(&ddds.step())) add_services(look, srv->name);
  if (auto* host = std::get_if<Ddds::Host>(&ddds.step())) add_host(look, host->name, kDefaultPort);
  if (auto* uri = std::get_if<Ddds::Uri>(&ddds.step())) add_uri(look, uri->text);
}

// What flag "u" gives: an address as it may stand in a configuration, but not another name that is rewritten.
void Directory::add_uri(Look& look, const std::string& uri) {
  auto [endpoint, error] = parse_endpoint(uri);
  if (!endpoint || endpoint->is_port_zero()) {
    look.trouble = "the rules give \"" + uri + "\": " + (endpoint ? "nothing is at port 0" : error);
    return;
  }
  switch (endpoint->kind) {
    case Endpoint::Kind::Host: return add_host(look, endpoint->name, endpoint->port);
    case Endpoint::Kind::Srv: return add_services(look, endpoint->name);
    case Endpoint::Kind::Tcp:
    case Endpoint::Kind::Unix:
    case Endpoint::Kind::Abstract: return add(look, endpoint->address);
    case Endpoint::Kind::BuiltinEcho:
    case Endpoint::Kind::BuiltinDiscard:
    case Endpoint::Kind::Urn:
    case Endpoint::Kind::Systemd:
    case Endpoint::Kind::Naptr: look.trouble = "the rules give " + uri + ", which is no address";
  }
}

void Directory::forget(const Key& key, Id user) {
  auto found = names_.find(key);
  if (found == names_.end()) return;
  found->second.users.erase(user);
  if (!found->second.users.empty()) {
    auto is_lazy = [this](Id id) { return entries_.at(id).lazy_watchers > 0; };
    found->second.is_lazy = std::ranges::any_of(found->second.users, is_lazy);
    return;
  }
  resolver_.forget(found->second.token);
  tokens_.erase(found->second.token);
  names_.erase(found);
}

// --- Asking ------------------------------------------------------------------------------------------------------

void Directory::ask(const Key& key, Name& name) {
  tokens_.erase(name.token);
  name.token = ++last_token_;
  tokens_[name.token] = key;
  name.clock.ask();
  resolver_.ask(key.first, key.second, name.token,
                name.clock.has_failed() ? Resolver::Line::Again : Resolver::Line::First);
}

// What is known serves on. The resolver asks again for what is under way.
void Directory::on_change(Resolver::Change change) {
  if (context_.index() == 0)
    log_line(LogLevel::Info, "name", "all that are not known are looked up again",
             {{"reason", std::string(change.servers ? "other DNS servers" : "/etc/hosts has changed")}});
  for (auto& [key, name] : names_) {
    bool is_there = change.hosts && key.first == Resolver::Kind::Host && resolver_.is_in_hosts(key.second);
    if (name.clock.is_settled() && !is_there) continue;
    name.clock.hurry(context_.now());
    if (name.clock.is_due(context_.now())) ask(key, name);
  }
}

bool Directory::renew(Id id) {
  bool is_asking = false;
  for (const Key& key : std::set<Key>(entries_.at(id).names)) {
    Name& name = names_.at(key);
    if (name.clock.is_due(context_.now())) ask(key, name);
    is_asking |= name.clock.is_awaited();
  }
  return is_asking;
}

std::vector<Directory::Id> Directory::run() {
  std::set<Id> touched;
  std::vector<Resolver::Answer> answers = resolver_.take_answers();
  for (Resolver::Answer& answer : answers) on_answer(answer, touched);
  bool is_time = std::exchange(is_time_, false);
  if (is_time) resolver_.look();
  Resolver::Change change = resolver_.take_change();
  bool is_changed = change.servers || change.hosts;
  if (is_changed) on_change(change);
  if (is_time) ask_due();
  for (Id id : touched) look_at(id);
  if (is_time || is_changed || !touched.empty()) arm();
  return {touched.begin(), touched.end()};
}

void Directory::ask_due() {
  for (auto& [key, name] : names_)
    if (name.clock.is_due(context_.now()) && (name.is_lazy || !name.clock.has_answer())) ask(key, name);
}

void Directory::on_answer(Resolver::Answer& answer, std::set<Id>& touched) {
  auto token = tokens_.find(answer.token);
  if (token == tokens_.end()) return;  // nobody wants it any more
  Key key = token->second;
  if (answer.is_last) tokens_.erase(token);
  Name& name = names_.at(key);
  take(name, key, answer);
  touched.insert(name.users.begin(), name.users.end());
}

void Directory::take(Name& name, const Key& key, Resolver::Answer& answer) {
  Time now = context_.now();
  if (key.first != Resolver::Kind::Host && answer.status != Resolver::Status::Failed) read_message(name, key, answer);
  if (answer.status == Resolver::Status::Failed) {
    name.clock.on_failed(now, context_.random());
    return log_trouble(name, key, answer.error);
  }
  take_addresses(name, answer);
  if (answer.status == Resolver::Status::Missing) {
    name.clock.on_missing(answer.ttl == Duration::zero() ? kNegative : answer.ttl, now, context_.random());
    return log_trouble(name, key, "there are none");
  }
  if (answer.is_last) {
    name.clock.on_found(answer.ttl, now, context_.random());
  } else {
    name.clock.on_part(answer.ttl, now, context_.random());
  }
  if (std::exchange(name.is_told, false)) log_line(LogLevel::Info, "name", "is resolved again", {{"name", key.second}});
}

// A family that was not answered keeps what was known of it, a day at most.
void Directory::take_addresses(Name& name, Resolver::Answer& answer) {
  if (answer.unknown == AF_UNSPEC) name.whole_at = context_.now();
  if (context_.now() >= name.whole_at + NameClock::kStale) name.addresses.clear();
  std::erase_if(name.addresses, [&](const Address& known) { return known.family() != answer.unknown; });
  auto where = answer.unknown == AF_INET ? name.addresses.end() : name.addresses.begin();
  name.addresses.insert(where, answer.addresses.begin(), answer.addresses.end());
}

// What c-ares left as it came.
void Directory::read_message(Name& name, const Key& key, Resolver::Answer& answer) {
  if (answer.message.empty()) {  // there are none, and that is all that is known
    name.services.clear();
    name.rules.clear();
  } else if (key.first == Resolver::Kind::Srv) {
    take_records(parse_srv_answer(answer.message), name.services, answer);
  } else {
    take_records(parse_naptr_answer(answer.message), name.rules, answer);
  }
}

template <class Record>
void Directory::take_records(DnsAnswer<Record> parsed, std::vector<Record>& records, Resolver::Answer& answer) {
  if (auto* failure = std::get_if<DnsFailure>(&parsed)) {
    answer.status = Resolver::Status::Failed;
    answer.error = failure->reason;
    return;
  }
  records.clear();
  if (auto* absence = std::get_if<DnsAbsence>(&parsed)) {
    answer.status = Resolver::Status::Missing;
    answer.ttl = absence->ttl;
    return;
  }
  auto& found = std::get<DnsRecords<Record>>(parsed);
  answer.status = Resolver::Status::Found;
  answer.ttl = found.ttl;
  records = std::move(found.records);
}

void Directory::log_trouble(Name& name, const Key& key, const std::string& error) {
  if (std::exchange(name.is_told, true)) return;
  bool is_stale = name.clock.is_stale() && name.clock.serves(context_.now());
  log_line(LogLevel::Warning, "name", is_stale ? "cannot be asked for; its last answer serves" : "cannot be resolved",
           {{"name", key.second}, {"for", std::string(what(key.first))}, {"reason", error}});
}

void Directory::arm() {
  const Time next_pass = passed_at_ + kPace;
  if (context_.now() < next_pass) return timer_.set(std::min(timer_.deadline(), next_pass));
  passed_at_ = context_.now();
  Time next = Time::max();
  bool are_settled = true;
  for (auto& [key, name] : names_) {
    are_settled &= name.clock.is_settled();
    if (name.is_lazy || !name.clock.has_answer()) next = std::min(next, name.clock.ask_at());
  }
  if (!names_.empty()) next = std::min(next, resolver_.looked_at() + (are_settled ? kLook : kLookSoon));
  timer_.set(next);
}

}  // namespace cloudbus
