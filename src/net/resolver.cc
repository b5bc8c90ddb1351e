// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/resolver.h"

#include <netdb.h>
#include <sys/time.h>

#include <algorithm>
#include <mutex>
#include <utility>

namespace cloudbus {
namespace {

constexpr int kTryMs = 700;     // until the next server, or the next try, for which c-ares doubles it
constexpr int kTries = 2;       // so that three servers are asked within the deadline
constexpr int kUdpSize = 1232;  // bytes that fit everywhere; longer answers come by TCP
constexpr int kClassIn = 1, kTypeSrv = 33, kTypeNaptr = 35;

bool is_missing(int status) { return status == ARES_ENOTFOUND || status == ARES_ENODATA; }

void start_library() {
  static std::once_flag once;
  std::call_once(once, [] { ares_library_init(ARES_LIB_INIT_ALL); });
}

}  // namespace

Resolver::Resolver(Loop& loop, std::string servers) : loop_(loop), servers_(std::move(servers)) {
  start_library();
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

// Calls back for every query that is under way.
void Resolver::close() {
  if (channel_) ares_destroy(std::exchange(channel_, nullptr));
  timer_.stop();
  sockets_.clear();
}

// --- Asking ------------------------------------------------------------------------------------------------------

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
    ares_addrinfo_hints hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = ARES_AI_NOSORT;
    ares_getaddrinfo(channel_, name.c_str(), nullptr, &hints, on_host, &query);
  } else {
    ares_search(channel_, name.c_str(), kClassIn, kind == Kind::Srv ? kTypeSrv : kTypeNaptr, on_records, &query);
  }
  arm();
}

void Resolver::answer(Query& query, Answer answer) {
  if (std::exchange(query.is_answered, true)) return;
  answer.token = query.token;
  answers_.push_back(std::move(answer));
  loop_.go_on();  // they are taken at the end of a turn
}

void Resolver::end(Query& query) { queries_.erase(query.id); }

// --- What c-ares says --------------------------------------------------------------------------------------------

void Resolver::on_host(void* argument, int status, int, ares_addrinfo* found) {
  Query& query = *static_cast<Query*>(argument);
  Resolver& self = query.resolver;
  Answer answer{.status = is_missing(status) ? Status::Missing : Status::Failed};
  if (status == ARES_SUCCESS && found) {
    Duration ttl = Duration::max();
    for (ares_addrinfo_node* node = found->nodes; node; node = node->ai_next) {
      answer.addresses.push_back(Address::from_sockaddr(node->ai_addr, node->ai_addrlen));
      ttl = std::min<Duration>(ttl, std::chrono::seconds(node->ai_ttl));
    }
    for (ares_addrinfo_cname* alias = found->cnames; alias; alias = alias->next)
      ttl = std::min<Duration>(ttl, std::chrono::seconds(alias->ttl));
    answer.status = answer.addresses.empty() ? Status::Missing : Status::Found;
    answer.ttl = answer.addresses.empty() ? Duration::zero() : ttl;
  }
  if (found) ares_freeaddrinfo(found);
  if (answer.status == Status::Failed) answer.error = ares_strerror(status);
  if (answer.status != Status::Failed) self.was_heard_ = true;
  self.answer(query, std::move(answer));
  self.end(query);
}

void Resolver::on_records(void* argument, int status, int, unsigned char* message, int size) {
  Query& query = *static_cast<Query*>(argument);
  Resolver& self = query.resolver;
  Answer answer{.status = status == ARES_SUCCESS ? Status::Found
                          : is_missing(status)   ? Status::Missing
                                                 : Status::Failed};
  auto* begin = reinterpret_cast<const std::byte*>(message);
  if (message && answer.status != Status::Failed) answer.message.assign(begin, begin + size);
  if (answer.status == Status::Failed) answer.error = ares_strerror(status);
  if (answer.status != Status::Failed) self.was_heard_ = true;
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
    if (query->is_answered || loop_.now() < query->deadline) continue;
    answer(*query, {.status = Status::Failed, .error = "no answer in time"});
    is_late = true;
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
  for (auto& [id, query] : queries_)
    if (!query->is_answered) next = std::min(next, query->deadline);
  Duration wait = next == Time::max() ? kDeadline : std::max(Duration(0), next - loop_.now());
  timeval most{}, until{};
  most.tv_sec = static_cast<time_t>(wait.count() / 1'000'000);
  most.tv_usec = static_cast<suseconds_t>(wait.count() % 1'000'000);
  timeval* first = ares_timeout(channel_, &most, &until);
  timer_.start_timer(loop_.base(), std::chrono::seconds(first->tv_sec) + std::chrono::microseconds(first->tv_usec),
                     on_timer, this);
}

}  // namespace cloudbus
