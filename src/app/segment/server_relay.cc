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

// Before the end of connect_timeout there is time for an answer, which tells more than "connect-timeout".
constexpr int kAnswerPart = 20;

// Of a socket pair.
Address local_address() {
  sockaddr unnamed{};
  unnamed.sa_family = AF_UNIX;
  return Address::from_sockaddr(&unnamed, sizeof unnamed.sa_family);
}

}  // namespace

ServerRelay::ServerRelay(Segment& segment, Worker& worker, const ServiceRef& service, Peer& peer, StreamId stream,
                         const OpenRequest& request)
    : Relay(worker, service, Side::Server, request.client, request.conversation),
      segment_(segment),
      may_retry_(request.retry && service->connect_retry) {
  peer_ = peer.id();
  stream_ = stream;
  flow_.wait_readable();
  arm();
}

// --- Connecting --------------------------------------------------------------------------------------------------

ServerRelay::Dialled ServerRelay::dial() {
  if (!worker_.links().find(peer_)) return Dialled::Begun;
  if (!backends().descriptors().may_take()) return Dialled::NoShare;
  if (backends().is_down()) {
    abort(StreamCode::ServerDown);
    return Dialled::Begun;
  }
  if (dialing_) dialing_->worth_a_retry = 0;
  if (auto server = backends().only()) {
    begin_dialing();
    return dial_only(*server);
  }
  if (dialing().candidates.empty()) dialing_->candidates = backends().candidates(client_.view());
  begin_dialing();
  return dialing_->candidates.empty() ? Dialled::NoAddress : dial_some();
}

ServerRelay::Dialing& ServerRelay::dialing() {
  if (!dialing_) dialing_ = std::make_unique<Dialing>(*this);
  return *dialing_;
}

void ServerRelay::begin_dialing() {
  if (stage_ != Stage::Waiting) return;
  stage_ = Stage::Dialing;
  segment_.dial_queue().on_begun(*this);
}

void ServerRelay::leave_dialing() { segment_.dial_queue().on_ended(*this); }

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
  Segment::on_dialled(dialled.fd, server.address, service());
  start_connection(dialled.fd, server.address);
  if (dialled.connected) on_connected();
  write_pending();  // often it is connected by now: this spares a turn
  return Dialled::Begun;
}

bool ServerRelay::dial_builtin(Endpoint::Kind kind) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) return false;
  segment_.builtins().add(kind, ends[1]);
  start_connection(ends[0], local_address());
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
  dialing_->is_starting = true;
  dialing_->connector->start();
  if (!dialing_) return Dialled::Begun;
  dialing_->is_starting = false;
  if (stage_ != Stage::Dialing || !is_out_of_descriptors(dial_error_)) return Dialled::Begun;
  dialing_->connector.reset();
  return Dialled::NoDescriptor;
}

void ServerRelay::Dialing::on_connected(std::size_t index, int fd, bool is_broken) noexcept {
  relay.on_candidate_connected(candidates[index], fd, is_broken);
}

void ServerRelay::Dialing::on_dialled(std::size_t index, int fd) noexcept {
  Segment::on_dialled(fd, candidates[index].address, relay.service());
}

void ServerRelay::Dialing::on_address_failed(std::size_t index, int error) noexcept {
  const Address& address = candidates[index].address;
  bool counts = !has_failed && !is_out_of_descriptors(error) && !is_out_of_ports(error);
  if (counts) relay.backends().on_failed(address, error);
  relay.on_server_failed(address.to_string(), error);
}

void ServerRelay::on_candidate_connected(Backends::Candidate chosen, int fd, bool is_broken) {
  backends().on_connected(chosen.address);
  if (chosen.server != server_) take_server(chosen.server);
  address_ = std::make_unique<const std::string>(chosen.address.to_string());
  start_connection(fd, chosen.address);
  on_connected();
  is_broken ? on_write_failed(Io::Broken) : write_pending();
  dialing_.reset();
}

void ServerRelay::on_all_failed(int error) {
  if (is_out_of_descriptors(error)) {
    if (dialing_->is_starting) return;  // dial_some() sees it
    dialing_->worth_a_retry = error;
    if (!retry_later()) fail(error);
    return;
  }
  auto is_builtin = [this](const Backends::Candidate& candidate) {
    return backends().endpoint(candidate.server).is_builtin();
  };
  std::vector<Backends::Candidate>& candidates = dialing_->candidates;
  candidates.erase(candidates.begin(), std::ranges::find_if(candidates, is_builtin));
  if (!candidates.empty()) return void(dial_some());
  if (!retry_later()) fail(dialing_->worth_a_retry != 0 ? dialing_->worth_a_retry : error);
}

void ServerRelay::on_connected() {
  log_step("is connected to the server");
  leave_dialing();
  if (dialing_ && !dialing_->connector) dialing_.reset();  // the only server, at another try
  opened();
  if (Session* carrier = session()) carrier->accept(stream_);
}

void ServerRelay::on_connect_failed(int error) { dial_failed(error); }

ServerRelay::Dialled ServerRelay::dial_failed(int error) {
  close_connection();
  if (is_out_of_descriptors(error)) return Dialled::NoDescriptor;
  on_server_failed(server_name(backends().endpoint(server_)), error);
  if (!retry_later()) fail(error);
  return Dialled::Begun;
}

// --- Failures ----------------------------------------------------------------------------------------------------

// A client whose dial is tried again and again is one client: the first failure counts.
void ServerRelay::on_server_failed(const std::string& server, int error) {
  dial_error_ = static_cast<short>(error);
  if (is_out_of_descriptors(error)) return;
  if (is_worth_a_retry(error)) dialing().worth_a_retry = error;
  if (dialing_ && dialing_->has_failed) return;
  log_line(LogLevel::Warning, service_->name,
           is_out_of_ports(error) ? "no local port is free on the way to the server" : "cannot connect to the server",
           {{"server", server}, {"error", std::string(std::strerror(error))}, {"id", conversation_}});
}

// A full queue of a Unix server, and local ports, are free again at any moment; a server that refuses may be starting.
bool ServerRelay::is_worth_a_retry(int error) const {
  return error == EAGAIN || is_out_of_ports(error) || (may_retry_ && is_refused(error));
}

// The next try is as good as a new client's: it takes a turn in the queue. False when no time is left for it.
bool ServerRelay::retry_later() {
  if (!dialing_ || dialing_->worth_a_retry == 0) return false;
  Time at = worker_.now() + dialing_->backoff.next(worker_.random());
  Duration patience = service_->connect_timeout;
  bool is_busy = dialing_->worth_a_retry == EAGAIN;  // it is there, and may have time until the end
  if (!is_busy && at > started_ + patience - patience / kAnswerPart) return false;
  dialing_->has_failed = true;
  dialing_->retry_at = at;
  dialing_->connector.reset();
  wait_again();
  arm();
  return true;
}

void ServerRelay::fail(int error) {
  dial_error_ = static_cast<short>(error);
  abort(connect_timeout_code() == StreamCode::ConnectTimeout ? StreamCode::ConnectFailed : connect_timeout_code());
}

void ServerRelay::reset_stream(StreamCode code) {
  if (Session* carrier = session()) carrier->reset(stream_, code, is_failure(code) ? reason(code) : std::string());
}

// For the log of the controller.
std::string ServerRelay::reason(StreamCode code) const {
  if (code == StreamCode::ServerDown) return "every server is down, by the segment's checks";
  if (dial_error_ == 0) return has_server_ ? server_text() + ": no answer" : "no server's address is known";
  return server_text() + ": " + std::strerror(dial_error_);
}

// --- The end, and time -------------------------------------------------------------------------------------------

void ServerRelay::on_close() {
  if (stage_ == Stage::Dialing) leave_dialing();
  dialing_.reset();
  if (has_server_) backends().end(server_);
  if (Session* carrier = session()) carrier->release();
}

StreamCode ServerRelay::connect_timeout_code() const {
  if (is_out_of_descriptors(dial_error_)) return StreamCode::NoDescriptors;
  if (is_out_of_ports(dial_error_)) return StreamCode::NoPorts;
  if (is_refused(dial_error_)) return StreamCode::ConnectFailed;
  return StreamCode::ConnectTimeout;
}

Time ServerRelay::next_deadline() const {
  Time deadline = Relay::next_deadline();
  return dialing_ ? std::min(deadline, dialing_->retry_at) : deadline;
}

bool ServerRelay::on_own_deadline(Time now) {
  if (!dialing_ || now < dialing_->retry_at) return false;
  dialing_->retry_at = Time::max();
  segment_.dial_queue().add(*this);
  return true;
}

// --- The log -----------------------------------------------------------------------------------------------------

std::string_view ServerRelay::mode_word() const { return name_of(service_->mode); }

void ServerRelay::add_fields(std::vector<Field>& fields) const {
  if (int port = connection_.local_port(); port != 0) fields.push_back({"port", static_cast<std::uint64_t>(port)});
}

std::string ServerRelay::server_text() const {
  return address_ ? *address_ : server_name(backends().endpoint(server_));
}

}  // namespace cloudbus
