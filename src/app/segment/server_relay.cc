// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/segment/server_relay.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "cloudbus/app/link/peer.h"
#include "cloudbus/app/log/client_name.h"
#include "cloudbus/app/segment/segment.h"
#include "cloudbus/app/worker/worker.h"
#include "cloudbus/net/dialer.h"
#include "cloudbus/net/socket_error.h"

namespace cloudbus {
namespace {

constexpr Duration kDialAgain = std::chrono::milliseconds(20);  // a Unix server whose queue is full

}  // namespace

ServerRelay::ServerRelay(Segment& segment, Worker& worker, const ServiceRef& service, Peer& peer, StreamId stream,
                         const OpenRequest& request)
    : Relay(worker, service, Side::Server, request.client, request.conversation), segment_(segment) {
  peer_ = peer.id();
  stream_ = stream;
  flow_.wait_readable();
  arm();
}

// --- Connecting --------------------------------------------------------------------------------------------------

ServerRelay::Dialled ServerRelay::dial() {
  if (!worker_.links().find(peer_)) return Dialled::Begun;
  if (auto server = backends().only()) {
    begin_dialing();
    return dial_only(*server);
  }
  if (!dialing_) dialing_ = std::make_unique<Dialing>(*this);
  if (dialing_->candidates.empty()) dialing_->candidates = backends().candidates(client_.view());
  begin_dialing();
  return dialing_->candidates.empty() ? Dialled::NoAddress : dial_some();
}

void ServerRelay::begin_dialing() {
  if (stage_ != Stage::Waiting) return;
  stage_ = Stage::Dialing;
  segment_.dial_queue().on_begun(peer_);
}

void ServerRelay::leave_dialing() { segment_.dial_queue().on_ended(peer_); }

void ServerRelay::wait_again() {
  leave_dialing();
  stage_ = Stage::Waiting;
}

void ServerRelay::take_server(ServerIndex server) {
  if (std::exchange(has_server_, true)) backends().end(server_);
  server_ = server;
  backends().begin(server);
}

// The only server, at its only address.
ServerRelay::Dialled ServerRelay::dial_only(ServerIndex index) {
  const Endpoint& server = backends().endpoint(index);
  if (!has_server_ || server_ != index) take_server(index);
  if (server.is_builtin()) return dial_builtin(server.kind) ? Dialled::Begun : dial_failed(errno);
  Dial dialled = cloudbus::dial(server.address);
  if (dialled.fd < 0) return dial_failed(dialled.error);
  start_connection(dialled.fd, server.address.is_unix());
  if (dialled.connected) on_connected();
  write_pending();  // often it is connected by now: this spares a turn
  return Dialled::Begun;
}

bool ServerRelay::dial_builtin(Endpoint::Kind kind) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) return false;
  segment_.builtins().add(kind, ends[1]);
  start_connection(ends[0], true);
  on_connected();
  write_pending();
  return true;
}

// Of the candidates, the first that can be connected to.
ServerRelay::Dialled ServerRelay::dial_some() {
  const std::vector<Backends::Candidate>& candidates = dialing_->candidates;
  const Endpoint& first = backends().endpoint(candidates.front().server);
  if (first.is_builtin()) {
    take_server(candidates.front().server);
    if (!dial_builtin(first.kind)) return dial_failed(errno);
    dialing_.reset();
    return Dialled::Begun;
  }
  std::vector<Address> addresses;
  for (const Backends::Candidate& candidate : candidates) {
    if (backends().endpoint(candidate.server).is_builtin()) break;
    addresses.push_back(candidate.address);
  }
  take_server(candidates.front().server);
  dialing_->connector = std::make_unique<Connector>(worker_.loop(), std::move(addresses),
                                                    started_ + service_->connect_timeout, *dialing_);
  dial_error_ = 0;
  dialing_->connector->start();
  return stage_ == Stage::Dialing && is_out_of_descriptors(dial_error_) ? Dialled::NoDescriptor : Dialled::Begun;
}

void ServerRelay::Dialing::on_connected(std::size_t index, int fd, bool is_broken) noexcept {
  relay.on_candidate_connected(candidates[index], fd, is_broken);
}

void ServerRelay::Dialing::on_address_failed(std::size_t index, int error) noexcept {
  relay.dial_error_ = static_cast<short>(error);
  if (is_out_of_descriptors(error)) return;
  relay.backends().on_failed(candidates[index].address, error);
  relay.log_failure(candidates[index].address.to_string(), error);
}

void ServerRelay::on_candidate_connected(Backends::Candidate chosen, int fd, bool is_broken) {
  backends().on_connected(chosen.address);
  if (chosen.server != server_) take_server(chosen.server);
  address_ = std::make_unique<const std::string>(chosen.address.to_string());
  start_connection(fd, chosen.address.is_unix());
  on_connected();
  is_broken ? on_write_failed(Io::Broken) : write_pending();
  dialing_.reset();
}

void ServerRelay::on_all_failed(int error) {
  if (is_out_of_descriptors(error)) {  // dial_some() sees it, or on_own_deadline()
    dialing_->connector.reset();
    return arm();
  }
  auto is_builtin = [this](const Backends::Candidate& candidate) {
    return backends().endpoint(candidate.server).is_builtin();
  };
  std::vector<Backends::Candidate>& candidates = dialing_->candidates;
  candidates.erase(candidates.begin(), std::ranges::find_if(candidates, is_builtin));
  if (candidates.empty()) return abort(StreamCode::ConnectFailed);
  dial_some();
}

void ServerRelay::on_connected() {
  log_step("is connected to the server");
  leave_dialing();
  opened();
  if (Session* carrier = session()) carrier->accept(stream_);
}

void ServerRelay::on_connect_failed(int error) { dial_failed(error); }

ServerRelay::Dialled ServerRelay::dial_failed(int error) {
  const Endpoint& server = backends().endpoint(server_);
  connection_.close();
  dial_error_ = static_cast<short>(error);
  if (is_out_of_descriptors(error)) return Dialled::NoDescriptor;
  if (error == EAGAIN && server.address.is_unix()) {  // its queue is full; on_own_deadline() tries again
    arm();
    return Dialled::Begun;
  }
  log_failure(server.to_string(), error);
  abort(StreamCode::ConnectFailed);
  return Dialled::Begun;
}

void ServerRelay::log_failure(const std::string& server, int error) const {
  log_line(LogLevel::Warning, service_->name, "cannot connect to the server",
           {{"server", server}, {"error", std::string(std::strerror(error))}, {"id", conversation_}});
}

// --- The end, and time -------------------------------------------------------------------------------------------

void ServerRelay::on_close() {
  if (stage_ == Stage::Dialing) leave_dialing();
  dialing_.reset();
  if (has_server_) backends().end(server_);
  if (Session* carrier = session()) carrier->release();
}

StreamCode ServerRelay::connect_timeout_code() const {
  return is_out_of_descriptors(dial_error_) ? StreamCode::NoDescriptors : StreamCode::ConnectTimeout;
}

bool ServerRelay::tries_again() const {
  bool is_connecting = connection_.is_open() || (dialing_ && dialing_->connector);
  return stage_ == Stage::Dialing && !is_connecting && dial_error_ != 0;
}

Time ServerRelay::next_deadline() const {
  Time deadline = Relay::next_deadline();
  return tries_again() ? std::min(deadline, worker_.now() + kDialAgain) : deadline;
}

bool ServerRelay::on_own_deadline(Time now) {
  if (!tries_again() || now >= started_ + service_->connect_timeout) return false;
  dial();
  return true;
}

// --- The log -----------------------------------------------------------------------------------------------------

std::string_view ServerRelay::mode_word() const { return name_of(service_->mode); }

std::string ServerRelay::server_text() const {
  return address_ ? *address_ : server_name(backends().endpoint(server_));
}

}  // namespace cloudbus
