// SPDX-License-Identifier: Apache-2.0
#pragma once

// Asks DNS, with c-ares on a worker's loop. Nothing here blocks, and nothing calls back: answers are taken.
//
// c-ares may complete a query inside the call that starts it, has no deadline for a query as a whole, and reads
// /etc/resolv.conf only once: so answers are queued, queries have deadlines of their own, and a channel of which
// nothing comes is made anew.

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
    bool is_last = true;               // otherwise it is a part, with addresses of a Host, and the whole follows
    std::vector<Address> addresses{};  // of a Host: IPv4 and IPv6, with port 0
    int unknown = AF_UNSPEC;           // of a Host that was found: the family that was not answered
    Duration ttl{};                    // the least of a Host's; 0 with Missing if the server did not say
    std::vector<std::byte> message{};  // of the others, as it came; also with Missing where there is one
    std::string error{};
  };

  static constexpr Duration kDeadline = std::chrono::seconds(7);  // of a query

  // `servers`: "10.0.0.2:53,[::1]:5353"; empty is the system's.
  Resolver(Loop& loop, std::string servers);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Asks these servers from here on. What is under way is never answered then: it is to be asked again. False when they
  // are the servers that it has.
  bool set_servers(const std::string& servers);

  // A host is looked for in /etc/hosts too, and in the search domains; `token` comes back with the answer.
  void ask(Kind kind, const std::string& name, std::uint64_t token);

  // What was answered since the last call.
  std::vector<Answer> take_answers() { return std::exchange(answers_, {}); }

 private:
  struct Records {  // that are looked for
    int type;
    std::string name;
    std::vector<std::string> names;    // that it may stand for
    std::size_t at = 0;                // in them
    std::vector<std::byte> absence{};  // what was answered to the name itself
  };
  struct Query {
    Resolver& resolver;
    std::uint64_t id, token;
    Time deadline;
    std::optional<HostLookup> host{};
    std::optional<Records> records{};
    bool is_starting = false;  // c-ares may call back, and more is to be asked
    bool is_answered = false, is_part_answered = false;

    bool has_part() const { return host && !is_part_answered && host->part_at() != Time::max(); }
    Time next() const;  // when there is something to do for it
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
  bool was_heard_ = false;  // something was answered since the last deadline that passed
  std::uint64_t last_id_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Query>> queries_;
  std::unordered_map<int, std::unique_ptr<Watch>> sockets_;
  Watch timer_;
  std::vector<Answer> answers_;
};

}  // namespace cloudbus
