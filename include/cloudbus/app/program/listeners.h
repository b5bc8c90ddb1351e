// SPDX-License-Identifier: Apache-2.0
#pragma once

// The listening sockets of a daemon, by the binds of its configuration. A change is all or nothing: every new socket is
// open before an old one is closed, unless the two cannot be open at once.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cloudbus/app/config/diff.h"
#include "cloudbus/net/listener.h"

namespace cloudbus {

class Listeners {
 public:
  // `service` is 0 for a bind of [Cloudbus]. The descriptor is the callee's.
  using OnAccept = std::function<void(BindId bind, ServiceId service, int fd, const Address& from)>;

  Listeners(Loop& loop, Role role, OnAccept on_accept);
  ~Listeners();
  Listeners(const Listeners&) = delete;
  Listeners& operator=(const Listeners&) = delete;

  // Three steps, one after the other.
  // 1. Opens what is new; nothing is accepted there. Returns all that is wrong, each as
  // "FILE:LINE: ...", and then everything is as it was. A socket that has no bind any more and stands in the way of a
  // new one is closed first.
  std::vector<std::string> prepare(const ConfigDiff& diff);
  // Instead of the next two: everything is as it was.
  void abandon();
  // 2. Closes the sockets that have no bind any more. Who is connected to them already is accepted.
  void close_unused(const ConfigDiff& diff);
  // 3. Accepts at the new sockets.
  void commit(const ConfigDiff& diff);

  void close_all() { open_.clear(); }

 private:
  struct Open {
    std::unique_ptr<Listener> listener;
    ServiceId service = 0;
    mode_t mode = 0;
    std::string subject;
  };
  struct Closed;  // a socket that was closed to make way

  std::string open(const ServedBind& bind);
  bool make_way(const ServedBind& bind, const std::vector<BindId>& removed);
  void reopen_closed();
  void start(BindId id, ListeningSocket socket);
  static void set_mode(const Open& open);
  static void log_listening(const Open& open);
  void log_pause(int error);

  Loop& loop_;
  std::string subject_;
  OnAccept on_accept_;
  std::map<BindId, Open> open_;
  std::map<BindId, ListeningSocket> opened_;  // by prepare()
  std::vector<Closed> closed_;                // by prepare()
  Time last_pause_logged_{};
};

}  // namespace cloudbus
