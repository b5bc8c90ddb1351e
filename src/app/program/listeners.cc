// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/listeners.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "cloudbus/app/config/values.h"
#include "cloudbus/app/log/log.h"

namespace cloudbus {
namespace {

constexpr Duration kLogPauseEvery = std::chrono::seconds(1);

bool is_passed(const ServedBind& served) { return served.bind.endpoint.kind == Endpoint::Kind::Systemd; }

std::string not_passed(const PassedSockets& passed) {
  std::string names;
  for (const std::string& name : passed.names()) names += (names.empty() ? "" : ", ") + name;
  if (names.empty()) return "systemd passed no sockets; is the socket unit active?";
  return "systemd passed no socket of this name; it passed " + names;
}

// A file that is this process's own.
bool has_file(const ServedBind& served) { return served.bind.endpoint.kind == Endpoint::Kind::Unix; }

bool is_unknown(const SocketGroup& group) { return !group.name.empty() && !group.id; }

std::string unknown_group(const SocketGroup& group) {
  return "there is no group " + quoted(group.name) + " on this host; a reload looks for it again";
}

}  // namespace

struct Listeners::Closed {
  Endpoint endpoint;  // with the port that the kernel chose
  ServedBind served;
};

Listeners::Listeners(Loop& loop, Role role, PassedSockets& passed, Descriptors& descriptors, OnAccept on_accept)
    : loop_(loop),
      role_(role),
      passed_(passed),
      descriptors_(descriptors),
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
  if (is_passed(added)) return open_passed(added);
  if (has_file(added) && is_unknown(added.group)) return unknown_group(added.group);
  auto opened = ListeningSocket::open(added.bind.endpoint, {added.mode, added.group.id});
  if (auto* error = std::get_if<std::string>(&opened)) return *error;
  opened_[added.bind.id].push_back(std::get<ListeningSocket>(std::move(opened)));
  return {};
}

std::string Listeners::open_passed(const ServedBind& added) {
  std::vector<ListeningSocket> sockets;
  for (int fd : passed_.named(added.bind.endpoint.name)) {
    auto opened = ListeningSocket::adopt(fd);
    if (auto* error = std::get_if<std::string>(&opened)) return *error;
    sockets.push_back(std::get<ListeningSocket>(std::move(opened)));
  }
  if (sockets.empty()) return not_passed(passed_);
  opened_.emplace(added.bind.id, std::move(sockets));
  return {};
}

// Closes sockets that overlap with the new one and have no bind any more. False when there is none.
bool Listeners::make_way(const ServedBind& added, const std::vector<BindId>& removed) {
  bool has_closed = false;
  for (BindId id : removed) {
    auto found = open_.find(id);
    if (found == open_.end() || is_passed(found->second.served)) continue;
    Listener& listener = *found->second.listeners.front();
    if (!overlap(listener.endpoint(), added.bind.endpoint)) continue;
    listener.accept_all();
    closed_.push_back({listener.endpoint(), found->second.served});
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

void Listeners::start(const ServedBind& served, std::vector<ListeningSocket> sockets) {
  BindId id = served.bind.id;
  auto on_accept = [this, id](int fd, const Address& from) { on_accept_(id, open_.at(id).served.service, fd, from); };
  auto on_pause = [this, id](int error) { log_pause(open_.at(id).served, error); };
  auto may_accept = [this, id] {
    ServiceId service = open_.at(id).served.service;  // a reload may have given the bind to another one
    return role_ == Role::Segment || descriptors_.share_of(service)->may_take();
  };
  Open& open = open_[id];
  open.served = served;
  for (ListeningSocket& socket : sockets) {
    if (socket.is_absent())
      log_line(LogLevel::Warning, served.subject, "the host does not have this address yet; it is bound all the same",
               {{"address", socket.endpoint().to_string()}});
    open.listeners.push_back(std::make_unique<Listener>(loop_, std::move(socket), on_accept, on_pause, may_accept));
  }
  log_listening(open, "listening");
}

void Listeners::close_unused(const ConfigDiff& diff) {
  for (BindId id : diff.binds_removed) {
    late_.remove(id);
    auto found = open_.find(id);
    if (found == open_.end()) continue;  // it made way, or never was
    Open& open = found->second;
    for (auto& listener : open.listeners) listener->accept_all();
    log_listening(open, "listens no more");
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
  if (diff.moves_binds()) tell_unnamed(*diff.after);
}

// They stay open: systemd listens there all the same, and a reload may name them.
void Listeners::tell_unnamed(const Config& config) {
  std::vector<std::string> names = passed_.names();
  auto drop = [&](const BindConfig& bind) {
    if (bind.endpoint.kind == Endpoint::Kind::Systemd) std::erase(names, bind.endpoint.name);
  };
  std::ranges::for_each(config.shared_binds, drop);
  for (const auto& service : config.services) std::ranges::for_each(service->binds, drop);
  for (const std::string& name : names)
    log_line(LogLevel::Warning, name_of(role_), "no bind names a socket that systemd passed; its clients wait",
             {{"name", name}});
}

void Listeners::change(Open& open, const ServedBind& changed) {
  ServedBind before = std::exchange(open.served, changed);
  bool has_other_access = before.mode != changed.mode || before.group != changed.group;
  if (has_other_access && has_file(changed)) set_access(open);
  if (before.service != changed.service) log_listening(open, "listening");
}

// Without a group of its own the file has the daemon's again.
void Listeners::set_access(const Open& open) {
  const SocketGroup& group = open.served.group;
  const Listener& listener = *open.listeners.front();
  std::string error = is_unknown(group) ? unknown_group(group)
                                        : listener.set_access({open.served.mode, group.id.value_or(::getegid())});
  if (error.empty()) return;
  log_line(LogLevel::Warning, open.served.subject, "cannot change the permissions of the socket file",
           {{"address", listener.endpoint().to_string()}, {"error", error}});
}

void Listeners::log_listening(const Open& open, std::string_view what) {
  for (const auto& listener : open.listeners) {
    std::vector<Field> fields = {{"address", listener->endpoint().to_string()}};
    if (is_passed(open.served)) fields.push_back({"bind", open.served.bind.endpoint.to_string()});
    log_line(LogLevel::Info, open.served.subject, what, fields);
  }
}

// Clients who have connected are taken, as a closed socket would reset them; a controller whose link is reset makes
// another one. Who waits at a socket of systemd's waits for the next process.
void Listeners::close_all() {
  late_.clear();
  for (auto& [id, open] : open_)
    if (role_ == Role::Controller && !is_passed(open.served))
      for (auto& listener : open.listeners) listener->accept_all();
  open_.clear();
  passed_.close();
}

void Listeners::log_pause(const ServedBind& served, int error) {
  Time now = loop_.now();
  if (last_pause_logged_ != Time{} && now - last_pause_logged_ < kLogPauseEvery) return;
  last_pause_logged_ = now;
  if (error == 0)
    return log_line(LogLevel::Warning, served.subject, "has its share of descriptors; new connections wait", {});
  log_line(LogLevel::Warning, name_of(role_), "cannot accept for the moment; new connections wait",
           {{"error", std::string(std::strerror(error))}});
}

}  // namespace cloudbus
