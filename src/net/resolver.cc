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

constexpr int kTryMs = 1000;    // until the next server; c-ares doubles it for the next try
constexpr int kTries = 2;       // so that three servers are asked within the deadline
constexpr int kUdpSize = 1232;  // bytes that fit everywhere; longer answers come by TCP
constexpr int kClassIn = 1, kTypeA = 1, kTypeAaaa = 28, kTypeSrv = 33, kTypeNaptr = 35;

bool is_missing(int status) { return status == ARES_ENOTFOUND || status == ARES_ENODATA; }

Bytes as_bytes(const unsigned char* message, int size) {
  return {reinterpret_cast<const std::byte*>(message), message ? static_cast<std::size_t>(size) : 0};
}

void start_library() {
  static std::once_flag once;
  std::call_once(once, [] { ares_library_init(ARES_LIB_INIT_ALL); });
}

}  // namespace

Resolver::Resolver(Loop& loop, std::string servers) : loop_(loop), servers_(std::move(servers)) {
  start_library();
  hosts_file_.emplace();
  open();
}

Resolver::~Resolver() { close(); }

void Resolver::open() {
  ares_options options{};
  options.flags = ARES_FLAG_EDNS;
  options.ednspsz = kUdpSize;
  options.timeout = kTryMs;
  options.tries = kTries;
  options.sock_state_cb = on_socket_state;
  options.sock_state_cb_data = this;
  int mask = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
  int status = ares_init_options(&channel_, &options, mask);
  if (status == ARES_SUCCESS && !servers_.empty()) status = ares_set_servers_ports_csv(channel_, servers_.c_str());
  open_error_ = status == ARES_SUCCESS ? "" : ares_strerror(status);
}

// Calls back for every pending query.
void Resolver::close() {
  if (channel_) ares_destroy(std::exchange(channel_, nullptr));
  timer_.stop();
  sockets_.clear();
}

bool Resolver::set_servers(const std::string& servers) {
  if (servers == servers_) return false;
  servers_ = servers;
  for (auto& [id, query] : queries_) query->is_answered = true;
  close();
  open();
  return true;
}

Time Resolver::Query::next() const {
  if (is_answered) return Time::max();
  return has_part() ? std::min(deadline, host->part_at()) : deadline;
}

// --- Queries -----------------------------------------------------------------------------------------------------

Resolver::Query& Resolver::add_query(std::uint64_t token) {
  std::uint64_t id = ++last_id_;
  auto query = std::make_unique<Query>(Query{*this, id, token, loop_.now() + kDeadline});
  return *queries_.emplace(id, std::move(query)).first->second;
}

void Resolver::ask(Kind kind, const std::string& name, std::uint64_t token) {
  if (!channel_) open();
  Query& query = add_query(token);
  if (!open_error_.empty()) {
    answer(query, {.status = Status::Failed, .error = open_error_});
    return end(query);
  }
  if (kind == Kind::Host) {
    ask_host(query, name);
  } else {
    query.records = Records{kind == Kind::Srv ? kTypeSrv : kTypeNaptr, name, search_names_of(name)};
    ask_records(query);
  }
  arm();
}

void Resolver::ask_host(Query& query, const std::string& name) {
  if (auto addresses = hosts_file_->find(name); !addresses.empty()) {
    answer(query, {.status = Status::Found, .addresses = std::move(addresses)});
    return end(query);
  }
  query.host.emplace(search_names_of(name));
  go_on(query);
}

// The search list of the system's configuration, as c-ares has read it.
std::vector<std::string> Resolver::search_names_of(const std::string& name) const {
  ares_options options{};
  int mask = 0;
  if (ares_save_options(channel_, &options, &mask) != ARES_SUCCESS) return {name};
  std::vector<std::string> domains(options.domains, options.domains + std::max(0, options.ndomains));
  int ndots = options.ndots;
  ares_destroy_options(&options);
  return search_names(name, domains, ndots);
}

// Looks up the next name when it is time, and answers when all is known. May end the query.
void Resolver::go_on(Query& query) {
  HostLookup& host = *query.host;
  while (host.state() == HostLookup::State::Asking && !query.is_answered) {
    host.ask();
    query.is_starting = true;
    const std::string name = host.name();
    ares_query(channel_, name.c_str(), kClassIn, kTypeA, on_addresses<HostLookup::Family::Ipv4>, &query);
    ares_query(channel_, name.c_str(), kClassIn, kTypeAaaa, on_addresses<HostLookup::Family::Ipv6>, &query);
    query.is_starting = false;
  }
  if (host.state() == HostLookup::State::Waiting) return;
  answer_host(query, true);
  end(query);
}

void Resolver::ask_records(Query& query) {
  const std::string name = query.records->names[query.records->at];
  ares_query(channel_, name.c_str(), kClassIn, query.records->type, on_records, &query);
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

void Resolver::end(Query& query) { queries_.erase(query.id); }

// --- What c-ares says --------------------------------------------------------------------------------------------

template <HostLookup::Family family>
void Resolver::on_addresses(void* argument, int status, int, unsigned char* message, int size) {
  constexpr auto parse = family == HostLookup::Family::Ipv4 ? parse_ipv4_answer : parse_ipv6_answer;
  Query& query = *static_cast<Query*>(argument);
  Resolver& self = query.resolver;
  DnsAnswer<HostRecord> found = DnsFailure{ares_strerror(status)};
  if (status == ARES_SUCCESS || (is_missing(status) && message)) {
    found = parse(as_bytes(message, size));
  } else if (is_missing(status)) {
    found = DnsAbsence{status == ARES_ENODATA};
  }
  self.was_heard_ |= !std::holds_alternative<DnsFailure>(found);
  query.host->on_answer(family, std::move(found), self.loop_.now());
  if (!query.is_starting) self.go_on(query);
}

void Resolver::on_records(void* argument, int status, int, unsigned char* message, int size) {
  Query& query = *static_cast<Query*>(argument);
  Resolver& self = query.resolver;
  Records& records = *query.records;
  const Bytes bytes = as_bytes(message, size);
  Answer answer;
  if (is_missing(status)) {
    self.was_heard_ = true;
    if (records.names[records.at] == records.name) records.absence.assign(bytes.begin(), bytes.end());
    if (++records.at < records.names.size() && !query.is_answered) return self.ask_records(query);
    answer.status = Status::Missing;
    answer.message = std::move(records.absence);
  } else if (status == ARES_SUCCESS) {
    self.was_heard_ = true;
    answer.status = Status::Found;
    answer.message.assign(bytes.begin(), bytes.end());
  } else {
    answer.error = ares_strerror(status);
  }
  self.answer(query, std::move(answer));
  self.end(query);
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
  bool is_late = false;
  for (auto& [id, query] : queries_) {
    if (loop_.now() < query->next()) continue;
    is_late |= loop_.now() >= query->deadline;
    if (query->host) {
      answer_host(*query, loop_.now() >= query->deadline);
    } else {
      answer(*query, {.status = Status::Failed, .error = "no answer in time"});
    }
  }
  if (is_late && !std::exchange(was_heard_, false)) {
    close();
    open();
  }
  arm();
}

void Resolver::arm() {
  timer_.stop();
  if (queries_.empty() || !channel_) return;
  Time next = Time::max();
  for (auto& [id, query] : queries_) next = std::min(next, query->next());
  Duration wait = next == Time::max() ? kDeadline : std::max(Duration(0), next - loop_.now());
  timeval most{}, until{};
  most.tv_sec = static_cast<time_t>(wait.count() / 1'000'000);
  most.tv_usec = static_cast<suseconds_t>(wait.count() % 1'000'000);
  timeval* first = ares_timeout(channel_, &most, &until);
  timer_.start_timer(loop_.base(), std::chrono::seconds(first->tv_sec) + std::chrono::microseconds(first->tv_usec),
                     on_timer, this);
}

}  // namespace cloudbus
