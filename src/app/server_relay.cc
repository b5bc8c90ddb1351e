// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/server_relay.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "cloudbus/app/client_name.h"
#include "cloudbus/app/peer.h"
#include "cloudbus/app/worker.h"
#include "cloudbus/net/dialer.h"
#include "cloudbus/net/socket_error.h"

namespace cloudbus {
namespace {

constexpr Duration kDialAgain = std::chrono::milliseconds(20);  // a Unix server whose queue is full

}  // namespace

ServerRelay::ServerRelay(Worker& worker, OwnerId id, const ServiceConfig& service, Balance& balance, Peer& peer,
                         StreamId stream, const OpenRequest& request)
    : Relay(worker, id, service, Side::Server, request.client, request.conversation), balance_(balance) {
  peer_ = peer.id();
  stream_ = stream;
  readable_ = false;
  arm();
}

// --- Connecting --------------------------------------------------------------------------------------------------

void ServerRelay::choose_server() {
  if (is_chosen_) return;
  is_chosen_ = true;
  if (service_.servers.size() > 1) {
    balance_.order(hash_key(client_), worker_.random_bits(), spares_);
    std::ranges::reverse(spares_);
    server_ = spares_.back();
    spares_.pop_back();
  }
  balance_.begin(server_);
}

bool ServerRelay::dial() {
  Peer* peer = worker_.find_peer(peer_);
  if (!peer) return true;
  choose_server();
  if (stage_ == Stage::Waiting) {
    stage_ = Stage::Dialing;
    peer->dialing++;
  }
  // What is left of the time is for all servers that are left.
  Time deadline = started_ + service_.connect_timeout;
  auto left = static_cast<int>(spares_.size()) + 1;
  try_until_ = left == 1 ? Time::max() : worker_.now() + (deadline - worker_.now()) / left;
  if (server().is_builtin()) return dial_builtin();
  Dial dialled = cloudbus::dial(server().address);
  if (dialled.fd < 0) return dial_failed(dialled.error);
  start_connection(dialled.fd, server().address.is_unix());
  if (dialled.connected) on_connected();
  write_pending();  // often it is connected by now: this spares a turn
  if (stage_ == Stage::Dialing) arm();
  return true;
}

bool ServerRelay::dial_builtin() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) return dial_failed(errno);
  worker_.add_builtin(server().kind, ends[1]);
  start_connection(ends[0], true);
  on_connected();
  write_pending();
  return true;
}

void ServerRelay::wait_again() {
  leave_dialing();
  stage_ = Stage::Waiting;
}

void ServerRelay::leave_dialing() {
  Peer* peer = worker_.find_peer(peer_);
  if (!peer) return;
  peer->dialing--;
  worker_.touch(*peer);
}

void ServerRelay::leave_server() {
  if (is_chosen_) balance_.end(server_);
}

void ServerRelay::on_connected() {
  log_step("is connected to the server");
  leave_dialing();
  opened();
  spares_ = {};
  if (Session* carrier = session()) carrier->accept(stream_);
}

void ServerRelay::on_connect_failed(int error) { dial_failed(error); }

// False when it is to be tried again, by the one who called dial().
bool ServerRelay::dial_failed(int error) {
  connection_.close();
  dial_error_ = error;
  if (is_out_of_descriptors(error)) return false;
  if (error == EAGAIN && server().address.is_unix()) {  // its queue is full; on_own_deadline() tries again
    arm();
    return true;
  }
  if (!try_next(std::strerror(error))) abort(StreamCode::ConnectFailed);
  return true;
}

// Nothing was delivered to the server that failed: the next one can have the client. False when there is none.
bool ServerRelay::try_next(std::string_view error) {
  log_line(LogLevel::Warning, service_.name, "cannot connect to the server",
           {{"server", server().to_string()}, {"error", std::string(error)}, {"id", to_string(conversation_)}});
  if (spares_.empty()) return false;
  connection_.close();
  leave_server();
  server_ = spares_.back();
  spares_.pop_back();
  balance_.begin(server_);
  if (!dial()) arm();
  return true;
}

// --- The end, and time -------------------------------------------------------------------------------------------

void ServerRelay::on_close() {
  if (stage_ == Stage::Dialing) leave_dialing();
  leave_server();
  if (Session* carrier = session()) carrier->release();
}

StreamCode ServerRelay::connect_timeout_code() const {
  return is_out_of_descriptors(dial_error_) ? StreamCode::NoDescriptors : StreamCode::ConnectTimeout;
}

Time ServerRelay::next_deadline() const {
  Time deadline = Relay::next_deadline();
  if (stage_ != Stage::Dialing) return deadline;
  if (!connection_.is_open()) return std::min(deadline, worker_.now() + kDialAgain);
  return std::min(deadline, try_until_);
}

bool ServerRelay::on_own_deadline(Time now) {
  if (stage_ != Stage::Dialing || now >= started_ + service_.connect_timeout) return false;
  if (!connection_.is_open()) return dial(), true;
  if (now < try_until_) return false;
  return try_next("no answer in time");
}

// --- The log -----------------------------------------------------------------------------------------------------

std::string_view ServerRelay::mode_word() const { return name_of(service_.mode); }

std::string ServerRelay::server_text() const {
  return server().is_builtin() ? server().to_string() : server().address.to_string();
}

}  // namespace cloudbus
