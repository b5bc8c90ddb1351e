// SPDX-License-Identifier: Apache-2.0
#pragma once

// Queries DNS, with c-ares on a worker's loop. Nothing here blocks or calls back: answers are queued until they are
// taken.
//
// c-ares may complete a query inside the call that starts it, has no deadline for a query as a whole, and reads
// /etc/resolv.conf only once. So answers are queued, queries have deadlines of their own, and a channel is replaced
// when the file has changed or no answers come.

#include <ares.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cloudbus/core/base/bytes.h"
#include "cloudbus/net/address.h"
#include "cloudbus/net/dns_transport.h"
#include "cloudbus/net/followed_file.h"
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

  // Who has its turn first.
  enum class Line : unsigned char {
    First,
    Again,  // the last lookup failed: at most half of the queries under way
  };
  struct Change {
    bool servers = false, hosts = false;
  };

  static constexpr Duration kDeadline = std::chrono::seconds(7);  // of a query, from when it is sent
  static constexpr std::size_t kLeastUnderWay = 8;

  // `servers`: "10.0.0.2:53,[::1]:5353"; empty for those of the system. Queries wait while `most` are under way.
  Resolver(Loop& loop, std::string servers, std::size_t most);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Asks these servers from here on, also for what is under way.
  void set_servers(const std::string& servers);

  // A host is also looked up in /etc/hosts and in the search domains. `token` comes back with the answer; it is greater
  // than all before.
  void ask(Kind kind, const std::string& name, std::uint64_t token, Line line = Line::First);
  // The answer is not wanted any more.
  void forget(std::uint64_t token);

  // Looks at /etc/resolv.conf and /etc/hosts, once in a turn at most. ask() does it too.
  void look();
  Time looked_at() const { return looked_at_; }
  // What has changed since the last call: names that were missing or could not be resolved may be there now.
  Change take_change() { return std::exchange(change_, {}); }
  bool is_in_hosts(const std::string& name) const { return !hosts_file_.find(name).empty(); }

  // The answers since the last call.
  std::vector<Answer> take_answers() { return std::exchange(answers_, {}); }

 private:
  struct Records {  // that are looked up
    int type;
    std::vector<std::string> names;  // those that the name may stand for
    std::size_t at = 0;              // index in names
    bool is_over = false;
    Answer answer{};
    std::vector<std::byte> absence{};  // the answer for the name itself
  };
  struct Query {
    Resolver& resolver;
    std::uint64_t token;
    Kind kind;
    std::string name;
    Line line;
    Time deadline = Time::max();  // none before it is sent
    std::optional<HostLookup> host{};
    std::optional<Records> records{};
    std::size_t pending = 0;  // calls of c-ares that will call back
    std::size_t slots = 0;    // of the queries that may be under way
    bool is_sending = false;  // c-ares may call back, and there are more queries to send
    bool is_answered = false, is_part_answered = false;

    bool has_part() const { return host && !is_part_answered && host->part_at() != Time::max(); }
    Time next() const;  // when there is something to do for the query
  };
  using Queries = std::map<std::uint64_t, std::unique_ptr<Query>>;  // by token

  void open();
  void close();
  void reopen();
  void arm();
  void on_time();
  void on_hosts_read(bool is_other);
  bool answer_from_hosts(Query& query);
  void wait_for_turn(std::unique_ptr<Query> query);
  void start_waiting();
  Query* take_turn();
  void send(Query& query);
  void begin(Query& query) const;
  void go_on(Query& query);
  void take_slots(Query& query, std::size_t count);
  void free_slots(Query& query, std::size_t count);
  void answer_host(Query& query, bool is_last);
  void answer(Query& query, Answer answer);
  void on_called_back(Query& query);
  void keep_records(Records& records, const std::string& name, int status, Bytes message);
  static void on_socket_state(void* resolver, ares_socket_t socket, int readable, int writable);
  static void on_socket(int fd, short what, void* resolver) noexcept;
  static void on_timer(int fd, short what, void* resolver) noexcept;
  template <HostLookup::Family family>
  static void on_addresses(void* query, int status, int timeouts, unsigned char* message, int size);
  static void on_records(void* query, int status, int timeouts, unsigned char* message, int size);

  Loop& loop_;
  std::string servers_;
  std::size_t most_;
  HostsFile hosts_file_{loop_, [this](bool is_other) { on_hosts_read(is_other); }};
  bool has_hosts_ = false;
  FollowedFile system_file_{"/etc/resolv.conf"};
  std::string system_text_;  // of system_file_
  Time looked_at_{};
  Change change_;
  DnsTransport transport_;
  ares_channel channel_ = nullptr;
  bool is_closing_ = false;  // what c-ares says then is nothing
  std::string open_error_;
  std::vector<std::string> domains_;  // the system's search list
  int ndots_ = 1;
  Time silent_since_{};                 // queries are under way, and no server has answered any since
  std::array<Queries, 2> waiting_;      // by Line
  std::array<std::size_t, 2> slots_{};  // that are taken, by Line
  Queries under_way_;
  bool is_starting_ = false;
  std::unordered_map<int, std::unique_ptr<Watch>> sockets_;
  Watch timer_;
  std::vector<Answer> answers_;
};

}  // namespace cloudbus
