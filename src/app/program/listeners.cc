// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/listeners.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "cloudbus/app/log/log.h"

namespace cloudbus {
namespace {

constexpr Duration kLogPauseEvery = std::chrono::seconds(1);

bool is_wildcard(const Address& address) {
  std::string text = address.to_string();
  return text.starts_with("0.0.0.0:") || text.starts_with("[::]:");
}

// Both cannot be bound at once.
bool overlap(const Endpoint& one, const Endpoint& other) {
  if (one.kind != Endpoint::Kind::Tcp || other.kind != Endpoint::Kind::Tcp) return one == other;
  const Address &a = one.address, &b = other.address;
  return a.family() == b.family() && a.port() == b.port() && (a == b || is_wildcard(a) || is_wildcard(b));
}

}  // namespace

struct Listeners::Closed {
  BindId id;
  Endpoint endpoint;  // with the port that the kernel chose
  Open open;
};

Listeners::Listeners(Loop& loop, Role role, OnAccept on_accept)
    : loop_(loop), subject_(name_of(role)), on_accept_(std::move(on_accept)) {}

Listeners::~Listeners() = default;

std::vector<Listeners::Bind> Listeners::binds_of(const Config& config) {
  std::vector<Bind> binds;
  for (const BindConfig& bind : config.shared_binds)
    binds.push_back({bind, 0, config.socket_mode, std::string(name_of(config.role))});
  for (const auto& service : config.services)
    for (const BindConfig& bind : service->binds)
      binds.push_back({bind, service->id, service->socket_mode, service->name});
  return binds;
}

// --- Opening -----------------------------------------------------------------------------------------------------

std::vector<std::string> Listeners::prepare(const Config& config) {
  std::vector<Bind> wanted = binds_of(config);
  std::vector<std::string> errors;
  for (const Bind& bind : wanted) {
    if (open_.contains(bind.config.id)) continue;
    std::string error = open(bind);
    if (!error.empty() && make_way(bind, wanted)) error = open(bind);
    if (!error.empty())
      errors.push_back(config.at(bind.config.line) + ": " + bind.config.endpoint.to_string() + ": " + error);
  }
  if (!errors.empty()) abandon();
  return errors;
}

void Listeners::abandon() {
  opened_.clear();
  reopen_closed();
}

std::string Listeners::open(const Bind& bind) {
  auto opened = ListeningSocket::open(bind.config.endpoint, bind.mode);
  if (auto* error = std::get_if<std::string>(&opened)) return *error;
  opened_.emplace(bind.config.id, std::get<ListeningSocket>(std::move(opened)));
  return {};
}

// Closes sockets that overlap with the new one and have no bind any more. False when there is none.
bool Listeners::make_way(const Bind& bind, const std::vector<Bind>& wanted) {
  bool has_closed = false;
  for (auto one = open_.begin(); one != open_.end();) {
    bool stays = std::ranges::any_of(wanted, [&](const Bind& other) { return other.config.id == one->first; });
    if (stays || !overlap(one->second.listener->endpoint(), bind.config.endpoint)) {
      ++one;
      continue;
    }
    one->second.listener->accept_all();
    Closed closed{one->first, one->second.listener->endpoint(), std::move(one->second)};
    closed.open.listener.reset();
    closed_.push_back(std::move(closed));
    one = open_.erase(one);
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

void Listeners::close_unused(const Config& config) {
  std::set<BindId> wanted;
  for (const Bind& bind : binds_of(config)) wanted.insert(bind.config.id);
  std::erase_if(open_, [&](auto& entry) {
    auto& [id, open] = entry;
    if (wanted.contains(id)) return false;
    open.listener->accept_all();
    log_line(LogLevel::Info, open.subject, "listens no more", {{"address", open.listener->endpoint().to_string()}});
    return true;
  });
  for (const Closed& closed : std::exchange(closed_, {}))
    log_line(LogLevel::Info, closed.open.subject, "listens no more", {{"address", closed.endpoint.to_string()}});
}

void Listeners::commit(const Config& config) {
  for (const Bind& bind : binds_of(config)) {
    BindId id = bind.config.id;
    auto [entry, is_new] = open_.try_emplace(id);
    Open& open = entry->second;
    bool has_other_mode = !is_new && open.mode != bind.mode;
    bool has_moved = !is_new && open.service != bind.service;
    open.service = bind.service;
    open.mode = bind.mode;
    open.subject = bind.subject;
    if (is_new) start(id, std::move(opened_.extract(id).mapped()));
    if (is_new || has_moved)
      log_line(LogLevel::Info, bind.subject, "listening", {{"address", open.listener->endpoint().to_string()}});
    if (has_other_mode) set_mode(open);
  }
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
