// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/listeners.h"

#include <cstring>
#include <utility>

#include "cloudbus/app/log/log.h"

namespace cloudbus {
namespace {

constexpr Duration kLogPauseEvery = std::chrono::seconds(1);

}  // namespace

struct Listeners::Closed {
  BindId id;
  Endpoint endpoint;  // with the port that the kernel chose
  Open open;
};

Listeners::Listeners(Loop& loop, Role role, OnAccept on_accept)
    : loop_(loop), subject_(name_of(role)), on_accept_(std::move(on_accept)) {}

Listeners::~Listeners() = default;

// --- Opening -----------------------------------------------------------------------------------------------------

std::vector<std::string> Listeners::prepare(const ConfigDiff& diff) {
  std::vector<std::string> errors;
  for (const ServedBind& added : diff.binds_added) {
    std::string error = open(added);
    if (!error.empty() && make_way(added, diff.binds_removed)) error = open(added);
    if (!error.empty())
      errors.push_back(diff.after->at(added.bind.line) + ": " + added.bind.endpoint.to_string() + ": " + error);
  }
  if (!errors.empty()) abandon();
  return errors;
}

void Listeners::abandon() {
  opened_.clear();
  reopen_closed();
}

std::string Listeners::open(const ServedBind& added) {
  auto opened = ListeningSocket::open(added.bind.endpoint, added.mode);
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
    Closed closed{id, found->second.listener->endpoint(), std::move(found->second)};
    closed.open.listener.reset();
    closed_.push_back(std::move(closed));
    open_.erase(found);
    has_closed = true;
  }
  return has_closed;
}

void Listeners::reopen_closed() {
  for (Closed& closed : std::exchange(closed_, {})) {
    auto opened = ListeningSocket::open(closed.endpoint, closed.open.mode);
    if (auto* error = std::get_if<std::string>(&opened)) {
      log_line(LogLevel::Error, "listener", "cannot be opened again",
               {{"address", closed.endpoint.to_string()}, {"error", *error}});
      continue;
    }
    open_.emplace(closed.id, std::move(closed.open));
    start(closed.id, std::get<ListeningSocket>(std::move(opened)));
  }
}

// --- Changing over -----------------------------------------------------------------------------------------------

void Listeners::start(BindId id, ListeningSocket socket) {
  auto on_accept = [this, id](int fd, const Address& from) { on_accept_(id, open_.at(id).service, fd, from); };
  auto on_pause = [this](int error) { log_pause(error); };
  open_.at(id).listener = std::make_unique<Listener>(loop_, std::move(socket), on_accept, on_pause);
}

void Listeners::close_unused(const ConfigDiff& diff) {
  for (BindId id : diff.binds_removed) {
    auto found = open_.find(id);
    if (found == open_.end()) continue;  // it made way
    Open& open = found->second;
    open.listener->accept_all();
    log_line(LogLevel::Info, open.subject, "listens no more", {{"address", open.listener->endpoint().to_string()}});
    open_.erase(found);
  }
  for (const Closed& closed : std::exchange(closed_, {}))
    log_line(LogLevel::Info, closed.open.subject, "listens no more", {{"address", closed.endpoint.to_string()}});
}

void Listeners::commit(const ConfigDiff& diff) {
  for (const ServedBind& added : diff.binds_added) {
    BindId id = added.bind.id;
    Open& open = open_[id] = {nullptr, added.service, added.mode, added.subject};
    start(id, std::move(opened_.extract(id).mapped()));
    log_listening(open);
  }
  for (const ServedBind& changed : diff.binds_changed) {
    Open& open = open_.at(changed.bind.id);
    bool has_moved = open.service != changed.service;
    open.service = changed.service;
    open.subject = changed.subject;
    if (std::exchange(open.mode, changed.mode) != changed.mode) set_mode(open);
    if (has_moved) log_listening(open);
  }
}

void Listeners::log_listening(const Open& open) {
  log_line(LogLevel::Info, open.subject, "listening", {{"address", open.listener->endpoint().to_string()}});
}

void Listeners::set_mode(const Open& open) {
  if (std::string error = open.listener->set_mode(open.mode); !error.empty())
    log_line(LogLevel::Warning, open.subject, "cannot change the permissions of the socket file",
             {{"address", open.listener->endpoint().to_string()}, {"error", error}});
}

void Listeners::log_pause(int error) {
  Time now = loop_.now();
  if (last_pause_logged_ != Time{} && now - last_pause_logged_ < kLogPauseEvery) return;
  last_pause_logged_ = now;
  log_line(LogLevel::Warning, subject_, "cannot accept for the moment; new connections wait",
           {{"error", std::string(std::strerror(error))}});
}

}  // namespace cloudbus
