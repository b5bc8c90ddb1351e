// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/resolver.h"

#include <netdb.h>
#include <sys/time.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "cloudbus/core/names/dns_name.h"

namespace cloudbus {
namespace {

constexpr int kTryMs = 1000;                        // until the next server; c-ares doubles it for the next try
constexpr int kTries = 2;                           // so that three servers are asked within the deadline
constexpr int kUdpSize = 1232;                      // bytes that fit everywhere; longer answers come by TCP
constexpr std::size_t kMostSlots = 2;               // of one lookup
constexpr std::size_t kMostSystemText = 64 * 1024;  // bytes of /etc/resolv.conf
constexpr int kClassIn = 1, kTypeA = 1, kTypeAaaa = 28, kTypeSrv = 33, kTypeNaptr = 35;

bool is_missing(int status) { return status == ARES_ENOTFOUND || status == ARES_ENODATA; }

// A server has answered, be it with a refusal.
bool is_heard(int status) { return status != ARES_ETIMEOUT && status != ARES_ECONNREFUSED; }

Bytes as_bytes(const unsigned char* message, int size) {
  return {reinterpret_cast<const std::byte*>(message), message ? static_cast<std::size_t>(size) : 0};
}

void start_library() {
  static std::once_flag once;
  std::call_once(once, [] { ares_library_init(ARES_LIB_INIT_ALL); });
}

}  // namespace

Resolver::Resolver(Loop& loop, std::string servers, std::size_t most)
    : loop_(loop), servers_(std::move(servers)), most_(std::max(most, kLeastUnderWay)) {
  start_library();
  look();
  open();
  change_ = {};
}

Resolver::~Resolver() { close(); }

// --- The channel -------------------------------------------------------------------------------------------------

void Resolver::open() {
  silent_since_ = loop_.now();
  ares_options options{};
  options.flags = ARES_FLAG_EDNS;
  options.ednspsz = kUdpSize;
  options.timeout = kTryMs;
  options.tries = kTries;
  options.sock_state_cb = on_socket_state;
  options.sock_state_cb_data = this;
  int mask = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
  int status = ares_init_options(&channel_, &options, mask);
  if (status == ARES_SUCCESS) {
    auto servers = parse_name_servers(servers_);
    if (servers.empty()) servers = name_servers_of(system_text_);
    // What the system's file says is left to c-ares, but for zones.
    auto has_zone = [](const NameServer& server) { return !server.zone.empty(); };
    if (servers_.empty() && std::ranges::none_of(servers, has_zone)) servers.clear();
    status = transport_.use(channel_, std::move(servers));
  }
  open_error_ = status == ARES_SUCCESS ? "" : ares_strerror(status);
  ares_options read{};
  if (status != ARES_SUCCESS || ares_save_options(channel_, &read, &mask) != ARES_SUCCESS) return;
  domains_.assign(read.domains, read.domains + std::max(0, read.ndomains));
  ndots_ = read.ndots;
  ares_destroy_options(&read);
}

void Resolver::close() {
  is_closing_ = true;
  if (channel_) ares_destroy(std::exchange(channel_, nullptr));  // calls back for every pending query
  is_closing_ = false;
  timer_.stop();
  sockets_.clear();
}

// Asks for what is under way again, over a new channel.
void Resolver::reopen() {
  close();
  for (auto& [token, query] : std::exchange(under_way_, {})) {
    free_slots(*query, query->slots);
    if (query->is_answered) continue;
    query->host.reset();
    query->records.reset();
    query->pending = 0;
    query->deadline = Time::max();
    wait_for_turn(std::move(query));
  }
  open();
  start_waiting();
  arm();
}

void Resolver::set_servers(const std::string& servers) {
  if (servers == servers_) return;
  servers_ = servers;
  change_.servers = true;
  reopen();
}

void Resolver::look() {
  if (loop_.now() == std::exchange(looked_at_, loop_.now())) return;
  if (hosts_file_.look()) on_hosts_read(true);
  if (!system_file_.look()) return;
  std::string text = read_file(system_file_.path(), kMostSystemText);
  if (text == std::exchange(system_text_, text) || !channel_) return;
  change_.servers = true;
  loop_.go_on();
  reopen();
}

void Resolver::on_hosts_read(bool is_other) {
  change_.hosts |= std::exchange(has_hosts_, true) && is_other;
  loop_.go_on();
  for (Queries& line : waiting_) std::erase_if(line, [this](auto& one) { return answer_from_hosts(*one.second); });
  start_waiting();
  arm();
}

// --- Queries -----------------------------------------------------------------------------------------------------

Time Resolver::Query::next() const {
  if (is_answered) return Time::max();
  return has_part() ? std::min(deadline, host->part_at()) : deadline;
}

void Resolver::ask(Kind kind, const std::string& name, std::uint64_t token, Line line) {
  look();
  auto query = std::make_unique<Query>(Query{*this, token, kind, name, line});
  if (!hosts_file_.is_reading() && answer_from_hosts(*query)) return;
  wait_for_turn(std::move(query));
  start_waiting();
  arm();
}

// One that is under way comes to its end by itself.
void Resolver::forget(std::uint64_t token) {
  for (Queries& line : waiting_) line.erase(token);
}

bool Resolver::answer_from_hosts(Query& query) {
  if (query.kind != Kind::Host) return false;
  auto addresses = hosts_file_.find(query.name);
  if (addresses.empty()) return false;
  answer(query, {.status = Status::Found, .addresses = std::move(addresses)});
  return true;
}

void Resolver::wait_for_turn(std::unique_ptr<Query> query) {
  std::uint64_t token = query->token;
  waiting_[static_cast<std::size_t>(query->line)].emplace(token, std::move(query));
}

// In each line the oldest is first, also one that goes on with the next name of its search list.
Resolver::Query* Resolver::take_turn() {
  constexpr auto kFirst = static_cast<std::size_t>(Line::First), kAgain = static_cast<std::size_t>(Line::Again);
  if (slots_[kFirst] + slots_[kAgain] + kMostSlots > most_) return nullptr;
  bool may_again = !waiting_[kAgain].empty() && slots_[kAgain] + kMostSlots <= most_ / 2;
  Queries& line = waiting_[may_again ? kAgain : kFirst];
  if (line.empty()) return nullptr;
  auto taken = under_way_.insert(line.extract(line.begin()));
  return taken.position->second.get();
}

void Resolver::start_waiting() {
  if (is_starting_ || hosts_file_.is_reading()) return;
  is_starting_ = true;
  while (Query* query = take_turn()) send(*query);
  is_starting_ = false;
}

void Resolver::take_slots(Query& query, std::size_t count) {
  query.slots += count;
  slots_[static_cast<std::size_t>(query.line)] += count;
}

void Resolver::free_slots(Query& query, std::size_t count) {
  count = std::min(count, query.slots);
  query.slots -= count;
  slots_[static_cast<std::size_t>(query.line)] -= count;
}

void Resolver::begin(Query& query) const {
  std::vector<std::string> names = search_names(query.name, domains_, ndots_);
  if (query.kind == Kind::Host) {
    query.host.emplace(std::move(names));
  } else {
    query.records.emplace(Records{query.kind == Kind::Srv ? kTypeSrv : kTypeNaptr, std::move(names)});
  }
}

// Asks for the next name. May end the query.
void Resolver::send(Query& query) {
  if (!channel_) open();
  if (!open_error_.empty()) {
    answer(query, {.status = Status::Failed, .error = open_error_});
    return void(under_way_.erase(query.token));
  }
  if (!query.host && !query.records) begin(query);
  if (under_way_.size() == 1) silent_since_ = loop_.now();
  if (query.deadline == Time::max()) query.deadline = loop_.now() + kDeadline;
  query.is_sending = true;
  if (query.host) {
    query.host->ask();
    query.pending = 2;
    take_slots(query, 2);
    const std::string name = query.host->name();
    ares_query(channel_, name.c_str(), kClassIn, kTypeA, on_addresses<HostLookup::Family::Ipv4>, &query);
    ares_query(channel_, name.c_str(), kClassIn, kTypeAaaa, on_addresses<HostLookup::Family::Ipv6>, &query);
  } else {
    query.pending = 1;
    take_slots(query, 1);
    const std::string name = query.records->names[query.records->at];
    ares_query(channel_, name.c_str(), kClassIn, query.records->type, on_records, &query);
  }
  query.is_sending = false;
  if (query.pending == 0) go_on(query);
}

void Resolver::on_called_back(Query& query) {
  free_slots(query, 1);
  query.pending--;
  if (query.pending == 0 && !query.is_sending) go_on(query);
  start_waiting();
}

// All that was sent for it has been answered, or given up. Answers, or waits for its turn with the next name.
void Resolver::go_on(Query& query) {
  bool is_over = query.host ? query.host->state() == HostLookup::State::Over : query.records->is_over;
  auto node = under_way_.extract(query.token);
  if (query.is_answered) return;
  if (!is_over) return wait_for_turn(std::move(node.mapped()));
  if (query.host) return answer_host(query, true);
  answer(query, std::move(query.records->answer));
}

void Resolver::answer_host(Query& query, bool is_last) {
  auto [found, unknown] = query.host->result();
  Answer result{.is_last = is_last};
  if (auto* records = std::get_if<DnsRecords<HostRecord>>(&found)) {
    result.status = Status::Found;
    for (const HostRecord& record : records->records) result.addresses.push_back(record.address);
    result.unknown = unknown;
    result.ttl = records->ttl;
  } else if (auto* absence = std::get_if<DnsAbsence>(&found)) {
    result.status = Status::Missing;
    result.ttl = absence->ttl;
  } else {
    result.error = std::get<DnsFailure>(found).reason;
  }
  answer(query, std::move(result));
}

void Resolver::answer(Query& query, Answer answer) {
  if (query.is_answered) return;
  query.is_answered = answer.is_last;
  query.is_part_answered = true;
  answer.token = query.token;
  answers_.push_back(std::move(answer));
  loop_.go_on();  // answers are taken at the end of a turn
}

// --- What c-ares says --------------------------------------------------------------------------------------------

template <HostLookup::Family family>
void Resolver::on_addresses(void* argument, int status, int, unsigned char* message, int size) {
  constexpr auto parse = family == HostLookup::Family::Ipv4 ? parse_ipv4_answer : parse_ipv6_answer;
  Query& query = *static_cast<Query*>(argument);
  Resolver& self = query.resolver;
  if (self.is_closing_) return;
  DnsAnswer<HostRecord> found = DnsFailure{ares_strerror(status)};
  if (status == ARES_SUCCESS || (is_missing(status) && message)) {
    found = parse(as_bytes(message, size));
  } else if (is_missing(status)) {
    found = DnsAbsence{status == ARES_ENODATA};
  }
  if (is_heard(status)) self.silent_since_ = self.loop_.now();
  query.host->on_answer(family, std::move(found), self.loop_.now());
  self.on_called_back(query);
}

void Resolver::on_records(void* argument, int status, int, unsigned char* message, int size) {
  Query& query = *static_cast<Query*>(argument);
  Resolver& self = query.resolver;
  if (self.is_closing_) return;
  if (is_heard(status)) self.silent_since_ = self.loop_.now();
  self.keep_records(*query.records, query.name, status, as_bytes(message, size));
  self.on_called_back(query);
}

void Resolver::keep_records(Records& records, const std::string& name, int status, Bytes message) {
  records.is_over = true;
  if (status == ARES_SUCCESS) {
    records.answer.status = Status::Found;
    records.answer.message.assign(message.begin(), message.end());
  } else if (is_missing(status)) {
    if (records.names[records.at] == name) records.absence.assign(message.begin(), message.end());
    records.is_over = ++records.at == records.names.size();
    records.answer.status = Status::Missing;
    if (records.is_over) records.answer.message = std::move(records.absence);
  } else {
    records.answer.status = Status::Failed;
    records.answer.error = ares_strerror(status);
  }
}

// --- Sockets and time --------------------------------------------------------------------------------------------

void Resolver::on_socket_state(void* argument, ares_socket_t socket, int readable, int writable) {
  auto* self = static_cast<Resolver*>(argument);
  if (!readable && !writable) return void(self->sockets_.erase(socket));
  auto& watch = self->sockets_[socket];
  if (!watch) watch = std::make_unique<Watch>();
  auto what = static_cast<short>((readable ? EV_READ : 0) | (writable ? EV_WRITE : 0) | EV_PERSIST);
  watch->start(self->loop_.base(), socket, what, on_socket, self);
}

void Resolver::on_socket(int fd, short what, void* argument) noexcept {
  auto* self = static_cast<Resolver*>(argument);
  ares_process_fd(self->channel_, what & EV_READ ? fd : ARES_SOCKET_BAD, what & EV_WRITE ? fd : ARES_SOCKET_BAD);
  self->arm();
}

void Resolver::on_timer(int, short, void* argument) noexcept { static_cast<Resolver*>(argument)->on_time(); }

void Resolver::on_time() {
  ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  for (auto& [token, query] : under_way_) {
    if (loop_.now() < query->next()) continue;
    if (query->host) {
      answer_host(*query, loop_.now() >= query->deadline);
      // What is silent about one family holds up no other name.
      if (!query->is_answered) free_slots(*query, query->slots);
    } else {
      answer(*query, {.status = Status::Failed, .error = "no answer in time"});
    }
  }
  // Its sockets may have an address that this host has no longer.
  if (!under_way_.empty() && loop_.now() >= silent_since_ + kDeadline) return reopen();
  start_waiting();
  arm();
}

void Resolver::arm() {
  timer_.stop();
  if (under_way_.empty() || !channel_) return;
  Time next = silent_since_ + kDeadline;
  for (auto& [token, query] : under_way_) next = std::min(next, query->next());
  Duration wait = std::max(Duration(0), next - loop_.now());
  timeval most{}, until{};
  most.tv_sec = static_cast<time_t>(wait.count() / 1'000'000);
  most.tv_usec = static_cast<suseconds_t>(wait.count() % 1'000'000);
  timeval* first = ares_timeout(channel_, &most, &until);
  timer_.start_timer(loop_.base(), std::chrono::seconds(first->tv_sec) + std::chrono::microseconds(first->tv_usec),
                     on_timer, this);
}

}  // namespace cloudbus
