// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/listeners.h"

#include <unistd.h>

#include <cstring>
#include <utility>

#include "cloudbus/app/config/values.h"
#include "cloudbus/app/log/log.h"

namespace cloudbus {
namespace {

constexpr Duration kLogPauseEvery = std::chrono::seconds(1);

std::string unknown_group(const SocketGroup& group) {
  return "there is no group " + quoted(group.name) + " on this host; a reload looks for it again";
}

}  // namespace

struct Listeners::Closed {
  Endpoint endpoint;  // with the port that the kernel chose
  ServedBind served;
};

Listeners::Listeners(Loop& loop, Role role, OnAccept on_accept)
    : loop_(loop),
      subject_(name_of(role)),
      on_accept_(std::move(on_accept)),
      late_(loop, [this](const ServedBind& bind) { return open_late(bind); }) {}

Listeners::~Listeners() = default;

// --- Opening -----------------------------------------------------------------------------------------------------

std::vector<std::string> Listeners::prepare(const ConfigDiff& diff, Failed failed) {
  for (const ServedBind& added : diff.binds_added) {
    std::string error = open(added);
    if (!error.empty() && make_way(added, diff.binds_removed)) error = open(added);
    if (!error.empty()) missing_.push_back({added, diff.after->at(added.bind.line), error});
  }
  bool is_enough = failed == Failed::IsTriedAgain && !opened_.empty();
  if (missing_.empty() || is_enough) return {};
  std::vector<std::string> errors;
  for (const Missing& missing : missing_)
    errors.push_back(missing.at + ": " + missing.served.bind.endpoint.to_string() + ": " + missing.error);
  abandon();
  return errors;
}

void Listeners::abandon() {
  opened_.clear();
  missing_.clear();
  reopen_closed();
}

std::string Listeners::open(const ServedBind& added) {
  if (!added.group.name.empty() && !added.group.id) return unknown_group(added.group);
  auto opened = ListeningSocket::open(added.bind.endpoint, {added.mode, added.group.id});
  if (auto* error = std::get_if<std::string>(&opened)) return *error;
  opened_.emplace(added.bind.id, std::get<ListeningSocket>(std::move(opened)));
  return {};
}

// Closes sockets that overlap with the new one and have no bind any more. False when there is none.
bool Listeners::make_way(const ServedBind& added, const std::vector<BindId>& removed) {
  bool has_closed = false;
  for (BindId id : removed) {
    auto found = open_.find(id);
    if (found == open_.end() || !overlap(found->second.listener->endpoint(), added.bind.endpoint)) continue;
    found->second.listener->accept_all();
    closed_.push_back({found->second.listener->endpoint(), found->second.served});
    open_.erase(found);
    has_closed = true;
  }
  return has_closed;
}

void Listeners::reopen_closed() {
  for (const Closed& closed : std::exchange(closed_, {})) {
    ServedBind again = closed.served;
    again.bind.endpoint = closed.endpoint;
    if (std::string error = open_late(again); !error.empty()) late_.add(again, "before the reload", error);
  }
}

std::string Listeners::open_late(const ServedBind& served) {
  std::string error = open(served);
  if (error.empty()) start(served, std::move(opened_.extract(served.bind.id).mapped()));
  return error;
}

// --- Changing over -----------------------------------------------------------------------------------------------

void Listeners::start(const ServedBind& served, ListeningSocket socket) {
  BindId id = served.bind.id;
  auto on_accept = [this, id](int fd, const Address& from) { on_accept_(id, open_.at(id).served.service, fd, from); };
  auto on_pause = [this](int error) { log_pause(error); };
  if (socket.is_absent())
    log_line(LogLevel::Warning, served.subject, "the host does not have this address yet; it is bound all the same",
             {{"address", socket.endpoint().to_string()}});
  auto listener = std::make_unique<Listener>(loop_, std::move(socket), on_accept, on_pause);
  Open& open = open_[id] = {served, std::move(listener)};
  log_listening(open);
}

void Listeners::close_unused(const ConfigDiff& diff) {
  for (BindId id : diff.binds_removed) {
    late_.remove(id);
    auto found = open_.find(id);
    if (found == open_.end()) continue;  // it made way, or never was
    Open& open = found->second;
    open.listener->accept_all();
    log_line(LogLevel::Info, open.served.subject, "listens no more",
             {{"address", open.listener->endpoint().to_string()}});
    open_.erase(found);
  }
  for (const Closed& closed : std::exchange(closed_, {}))
    log_line(LogLevel::Info, closed.served.subject, "listens no more", {{"address", closed.endpoint.to_string()}});
}

void Listeners::commit(const ConfigDiff& diff) {
  for (const ServedBind& added : diff.binds_added)
    if (auto opened = opened_.extract(added.bind.id)) start(added, std::move(opened.mapped()));
  for (const Missing& missing : std::exchange(missing_, {})) late_.add(missing.served, missing.at, missing.error);
  for (const ServedBind& changed : diff.binds_changed)
    if (!late_.change(changed)) change(open_.at(changed.bind.id), changed);
}

void Listeners::change(Open& open, const ServedBind& changed) {
  ServedBind before = std::exchange(open.served, changed);
  if (before.mode != changed.mode || before.group != changed.group) {
    if (std::string error = set_access(open); !error.empty())
      log_line(LogLevel::Warning, changed.subject, "cannot change the permissions of the socket file",
               {{"address", open.listener->endpoint().to_string()}, {"error", error}});
  }
  if (before.service != changed.service) log_listening(open);
}

// Without a group of its own the file has the daemon's again.
std::string Listeners::set_access(const Open& open) {
  const SocketGroup& group = open.served.group;
  if (!group.name.empty() && !group.id) return unknown_group(group);
  return open.listener->set_access({open.served.mode, group.id.value_or(::getegid())});
}

void Listeners::log_listening(const Open& open) {
  log_line(LogLevel::Info, open.served.subject, "listening", {{"address", open.listener->endpoint().to_string()}});
}

void Listeners::close_all() {
  late_.clear();
  open_.clear();
}

void Listeners::log_pause(int error) {
  Time now = loop_.now();
  if (last_pause_logged_ != Time{} && now - last_pause_logged_ < kLogPauseEvery) return;
  last_pause_logged_ = now;
  log_line(LogLevel::Warning, subject_, "cannot accept for the moment; new connections wait",
           {{"error", std::string(std::strerror(error))}});
}

}  // namespace cloudbus
