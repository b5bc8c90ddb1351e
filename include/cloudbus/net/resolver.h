// SPDX-License-Identifier: Apache-2.0
#pragma once

// Queries DNS, with c-ares on a worker's loop. Nothing here blocks or calls back: answers are queued until they are
// taken.
//
// c-ares may complete a query inside the call that starts it, has no deadline for a query as a whole, and reads
// /etc/resolv.conf only once. So answers are queued, queries have deadlines of their own, and a channel that gets no
// answers is replaced.

#include <ares.h>

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cloudbus/core/base/bytes.h"
#include "cloudbus/net/address.h"
#include "cloudbus/net/host_lookup.h"
#include "cloudbus/net/hosts_file.h"
#include "cloudbus/net/loop.h"

namespace cloudbus {

class Resolver {
 public:
  enum class Kind : unsigned char { Host, Srv, Naptr };
  enum class Status : unsigned char {
    Found,
    Missing,  // there is no such name, or it has no such record
    Failed,   // no answer, or a server that cannot answer; `error` says why
  };
  struct Answer {
    std::uint64_t token = 0;
    Status status = Status::Failed;
    bool is_last = true;               // otherwise a part of a Host's addresses, and the whole answer follows
    std::vector<Address> addresses{};  // of a Host: IPv4 and IPv6, with port 0
    int unknown = AF_UNSPEC;           // of a Host that was found: the family whose query was not answered
    Duration ttl{};                    // of a Host, the least; 0 with Missing if the server did not say
    std::vector<std::byte> message{};  // of Srv and Naptr, as received; also with Missing, if there is one
    std::string error{};
  };

  static constexpr Duration kDeadline = std::chrono::seconds(7);  // of a query

  // `servers`: "10.0.0.2:53,[::1]:5353"; empty for those of the system.
  Resolver(Loop& loop, std::string servers);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Asks these servers from here on. What is under way is never answered then: it is to be asked again. False when they
  // are the servers that it has.
  bool set_servers(const std::string& servers);

  // A host is also looked up in /etc/hosts and in the search domains; `token` comes back with the answer.
  void ask(Kind kind, const std::string& name, std::uint64_t token);

  // The answers since the last call.
  std::vector<Answer> take_answers() { return std::exchange(answers_, {}); }

 private:
  struct Records {  // that are looked up
    int type;
    std::string name;
    std::vector<std::string> names;    // the names that `name` may stand for
    std::size_t at = 0;                // index in names
    std::vector<std::byte> absence{};  // the answer for the name itself
  };
  struct Query {
    Resolver& resolver;
    std::uint64_t id, token;
    Time deadline;
    std::optional<HostLookup> host{};
    std::optional<Records> records{};
    bool is_starting = false;  // c-ares may call back, and there are more queries to send
    bool is_answered = false, is_part_answered = false;

    bool has_part() const { return host && !is_part_answered && host->part_at() != Time::max(); }
    Time next() const;  // when there is something to do for the query
  };

  void open();
  void close();
  void arm();
  void on_time();
  std::vector<std::string> search_names_of(const std::string& name) const;
  void ask_host(Query& query, const std::string& name);
  void go_on(Query& query);
  void ask_records(Query& query);
  void answer_host(Query& query, bool is_last);
  void answer(Query& query, Answer answer);
  Query& add_query(std::uint64_t token);
  static void on_socket_state(void* resolver, ares_socket_t socket, int readable, int writable);
  static void on_socket(int fd, short what, void* resolver) noexcept;
  static void on_timer(int fd, short what, void* resolver) noexcept;
  template <HostLookup::Family family>
  static void on_addresses(void* query, int status, int timeouts, unsigned char* message, int size);
  static void on_records(void* query, int status, int timeouts, unsigned char* message, int size);
  void end(Query& query);

  Loop& loop_;
  std::string servers_;
  std::optional<HostsFile> hosts_file_;
  ares_channel channel_ = nullptr;
  std::string open_error_;
  bool was_heard_ = false;  // there was an answer since the last deadline that passed
  std::uint64_t last_id_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Query>> queries_;
  std::unordered_map<int, std::unique_ptr<Watch>> sockets_;
  Watch timer_;
  std::vector<Answer> answers_;
};

}  // namespace cloudbus
