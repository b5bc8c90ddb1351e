// SPDX-License-Identifier: Apache-2.0
#pragma once

// The listening sockets of a daemon, by the binds of its configuration. A change is all or nothing: every new socket is
// open before an old one is closed, unless the two cannot be open at once. At the start some may come late.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cloudbus/app/config/diff.h"
#include "cloudbus/app/program/late_binds.h"
#include "cloudbus/app/program/passed_sockets.h"
#include "cloudbus/app/roster/descriptor_share.h"
#include "cloudbus/net/listener.h"

namespace cloudbus {

class Listeners {
 public:
  // `service` is 0 for a bind of [Cloudbus]. The descriptor is the callee's.
  using OnAccept = std::function<void(BindId bind, ServiceId service, int fd, const Address& from)>;

  // What systemd `passed` belongs to the binds that name it. Clients of a service that has its share of `descriptors`
  // wait.
  Listeners(Loop& loop, Role role, PassedSockets& passed, Descriptors& descriptors, OnAccept on_accept);
  ~Listeners();
  Listeners(const Listeners&) = delete;
  Listeners& operator=(const Listeners&) = delete;

  // What becomes of a bind that is not available.
  enum class Failed { IsRefused, IsTriedAgain };

  // Three steps, one after the other.
  // 1. Opens what is new; nothing is accepted there. Returns all that is wrong, each as
  // "FILE:LINE: ...", and then everything is as it was. A socket that has no bind any more and stands in the way of a
  // new one is closed first. With `IsTriedAgain` nothing is wrong as long as one socket is open.
  std::vector<std::string> prepare(const ConfigDiff& diff, Failed failed);
  // Instead of the next two: everything is as it was.
  void abandon();
  // 2. Closes the sockets that have no bind any more. Who is connected to them already is accepted.
  void close_unused(const ConfigDiff& diff);
  // 3. Accepts at the new sockets.
  void commit(const ConfigDiff& diff);

  // For a drain.
  void close_all();

 private:
  struct Open {
    ServedBind served;
    std::vector<std::unique_ptr<Listener>> listeners;  // several only where systemd passed several
  };
  struct Closed;  // a socket that was closed to make way
  struct Missing {
    ServedBind served;
    std::string at, error;
  };

  std::string open(const ServedBind& bind);
  std::string open_passed(const ServedBind& bind);
  bool make_way(const ServedBind& bind, const std::vector<BindId>& removed);
  void reopen_closed();
  void start(const ServedBind& served, std::vector<ListeningSocket> sockets);
  std::string open_late(const ServedBind& served);
  void change(Open& open, const ServedBind& changed);
  void tell_unnamed(const Config& config);
  static void set_access(const Open& open);
  static void log_listening(const Open& open, std::string_view what);
  void log_pause(const ServedBind& served, int error);

  Loop& loop_;
  Role role_;
  PassedSockets& passed_;
  Descriptors& descriptors_;
  OnAccept on_accept_;
  std::map<BindId, Open> open_;
  std::map<BindId, std::vector<ListeningSocket>> opened_;  // by prepare()
  std::vector<Closed> closed_;                             // by prepare()
  std::vector<Missing> missing_;                           // for prepare()
  LateBinds late_;
  Time last_pause_logged_{};
};

}  // namespace cloudbus
