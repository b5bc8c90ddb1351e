// SPDX-License-Identifier: Apache-2.0
// long: a client's conversation and its legs, whose callbacks share one state
#include "cloudbus/app/controller/client_relay.h"

#include <algorithm>
#include <cstring>

#include "cloudbus/app/controller/controller.h"
#include "cloudbus/app/link/peer.h"
#include "cloudbus/app/log/client_name.h"
#include "cloudbus/app/worker/worker.h"

namespace cloudbus {
namespace {

constexpr int kMostParts = 64;

}  // namespace

struct ClientRelay::Legs {
  struct Stream {
    PeerId peer = 0;
    StreamId id = 0;                 // 0 is none
    std::string address;             // of the peer
    std::vector<std::string> tried;  // addresses that refused it
    bool retries = false;            // the segment tries a server that refuses again
    bool was_refused = false;        // and does so because this server did
    bool is_counted = true;          // as load of its server
  };

  Legs(Mode mode, const FanoutLimits& limits, std::vector<ServerIndex> order, SlabPool& pool, Budget& budget)
      : fanout(mode, limits, std::move(order), pool, budget) {}

  Fanout fanout;
  std::vector<Stream> streams;
  std::deque<std::pair<LegId, std::size_t>> delivered;  // bytes given to the socket, for which credit is due
  bool is_stepping = false;
  bool has_told_end = false;
  bool has_told_break = false;
};

ClientRelay::ClientRelay(Controller& controller, Worker& worker, const ServiceRef& service, int fd,
                         const Address& client)
    : Relay(worker, service, Side::Client, client_name(fd, client), worker.new_conversation()),
      controller_(controller) {
  start_connection(fd, client);
  arm();
}

ClientRelay::~ClientRelay() = default;

void ClientRelay::take_version(const ServiceRef& version) {
  service_ = version;
  arm();
}

// --- Opening -----------------------------------------------------------------------------------------------------

void ClientRelay::open_on(Peer& peer) {
  peer_ = peer.id();
  stream_ = peer.session().open(request(service_->connect_retry), id());
  stage_ = Stage::Opening;
  log_step("opens a stream");
  peer.session().want(stream_);
  worker_.links().touch(peer);
}

OpenRequest ClientRelay::request(bool retry) const {
  OpenRequest request{conversation_, service_->priority, service_->service, std::string(client_.view())};
  request.retry = retry;
  connection_.identify(request);
  return request;
}

void ClientRelay::start_legs(std::vector<ServerIndex> order) {
  legs_ = std::make_unique<Legs>(service_->mode, service_->fanout, std::move(order), worker_.slabs(),
                                 its_service().memory());
  if (service_->fanout.quorum <= 1) stage_ = Stage::Opening;  // otherwise the client's bytes wait
  step();
}

bool ClientRelay::is_waiting(LegId leg) const {
  return legs_ && stage_ != Stage::Closed && legs_->fanout.leg(leg).state == LegState::Waiting;
}

void ClientRelay::open_leg_on(LegId leg, Peer& peer, std::string address) {
  Legs::Stream& stream = legs_->streams[leg];
  stream.peer = peer.id();
  stream.address = std::move(address);
  bool has_other = controller_.has_other_address(*this, leg, legs_->fanout.leg(leg).server);
  stream.retries |= service_->connect_retry && legs_->fanout.is_last(leg) && !has_other;
  stream.id = peer.session().open(request(stream.retries), leg_owner(id(), leg));
  worker_.links().touch(peer);
  log_step("opens a leg");
  legs_->fanout.on_opened(leg);
  step();
}

void ClientRelay::leg_unreachable(LegId leg) {
  leave_server(leg);
  legs_->fanout.on_failed(leg, StreamCode::ConnectFailed);
  step();
}

const std::string& ClientRelay::address(LegId leg) const { return legs_->streams[leg].address; }
std::span<const std::string> ClientRelay::tried(LegId leg) const { return legs_->streams[leg].tried; }

// The stream was refused, and nothing of it was delivered: another address of the same server may have it.
bool ClientRelay::try_elsewhere(LegId leg, StreamCode code) {
  Legs::Stream& stream = legs_->streams[leg];
  Fanout& fanout = legs_->fanout;
  ServerIndex server = fanout.leg(leg).server;
  if (fanout.leg(leg).state != LegState::Opening) return false;
  if (code != StreamCode::LinkLost && code != StreamCode::Loop) controller_.on_refused(stream.peer, code);
  stream.tried.push_back(stream.address);
  bool has_other = controller_.has_other_address(*this, leg, server);
  if (!has_other && !may_ask_again(leg, code)) return false;
  if (!fanout.begin_again(leg, code)) return false;
  if (!has_other) {
    stream.tried.clear();
    stream.retries = stream.was_refused = true;
  }
  stream.id = 0;
  controller_.open_leg(*this, leg, server);
  step();
  return true;
}

// Once more, and the segment has patience with the server; but not while there are others that come first.
bool ClientRelay::may_ask_again(LegId leg, StreamCode code) const {
  const Fanout& fanout = legs_->fanout;
  return code == StreamCode::ConnectFailed && service_->connect_retry && !legs_->streams[leg].retries &&
         !fanout.is_open() && !fanout.can_begin();
}

// There are enough others now.
void ClientRelay::give_up_refused() {
  for (LegId leg = 0; leg < legs_->fanout.leg_count(); leg++) {
    Legs::Stream& stream = legs_->streams[leg];
    if (!stream.was_refused || legs_->fanout.leg(leg).state == LegState::Open) continue;
    if (Session* session = session_of(leg)) session->reset(stream.id, StreamCode::Cancelled);
    stream.id = 0;
    stream.was_refused = false;
    leave_server(leg);
    legs_->fanout.on_failed(leg, StreamCode::ConnectFailed);
  }
}

// What was sent may have been delivered, and the segment may go on at any time: such a leg stays.
void ClientRelay::on_unresponsive_link(LegId id) {
  if (!legs_ || stage_ == Stage::Closed) return;
  const Leg& leg = legs_->fanout.leg(id);
  if (leg.state != LegState::Opening || leg.sent > 0) return;
  bool has_next = service_->mode == Mode::Balance && legs_->fanout.can_begin();
  if (!has_next && !controller_.has_other_address(*this, id, leg.server)) return;
  if (Session* session = session_of(id)) session->reset(legs_->streams[id].id, StreamCode::Cancelled);
  on_reset(id, StreamCode::LinkLost);
}

void ClientRelay::on_accepted(LegId leg) {
  if (!legs_) {
    if (stage_ == Stage::Opening) opened();
    return;
  }
  controller_.on_served(legs_->streams[leg].peer);
  legs_->fanout.on_accepted(leg);
  if (legs_->fanout.is_open()) give_up_refused();
  step();
}

// --- The legs ----------------------------------------------------------------------------------------------------

Session* ClientRelay::session_of(LegId leg) {
  const Legs::Stream& stream = legs_->streams[leg];
  Peer* peer = stream.id == 0 ? nullptr : worker_.links().find(stream.peer);
  if (!peer) return nullptr;
  worker_.links().touch(*peer);
  return &peer->session();
}

void ClientRelay::leave_server(LegId leg) {
  if (std::exchange(legs_->streams[leg].is_counted, false)) its_service().balance().end(legs_->fanout.leg(leg).server);
}

void ClientRelay::run_commands() {
  while (auto command = legs_->fanout.next_command()) run(*command);
}

void ClientRelay::run(const Fanout::Command& command) {
  using Kind = Fanout::Command::Kind;
  const Leg& leg = legs_->fanout.leg(command.leg);
  if (command.kind == Kind::Open) {
    legs_->streams.resize(command.leg + 1);
    its_service().balance().begin(leg.server);
    return controller_.open_leg(*this, command.leg, leg.server);
  }
  Session* session = session_of(command.leg);
  StreamId stream = legs_->streams[command.leg].id;
  switch (command.kind) {
    case Kind::Open: return;
    case Kind::Want:
      if (session) session->want(stream);
      return;
    case Kind::Finish:
      if (session) session->finish(stream);
      return;
    case Kind::Stop:
      if (session) session->stop(stream, command.code);
      return;
    case Kind::Reset:
      if (command.code == StreamCode::Lagging)
        log_line(
            LogLevel::Warning, service_->name, "the server lags behind the others and is left out",
            {{"server", server_of(command.leg)}, {"behind", legs_->fanout.front() - leg.sent}, {"id", conversation_}});
      if (session) session->reset(stream, command.code);
      legs_->streams[command.leg].id = 0;
      return leave_server(command.leg);
  }
}

// What follows from what happened to the legs, for them and for the client.
void ClientRelay::step() {
  if (stage_ == Stage::Closed || std::exchange(legs_->is_stepping, true)) return;
  Fanout& fanout = legs_->fanout;
  run_commands();
  if (fanout.is_open() && stage_ != Stage::Open) opened();
  for (auto held = fanout.release(); held && stage_ != Stage::Closed; held = fanout.release())
    deliver_held(held->leg, held->bytes);
  if (fanout.answer() == Fanout::Answer::Broken) {
    if (!std::exchange(legs_->has_told_break, true)) break_off(fanout.code());
  } else {
    if (flow_.reads() && fanout.is_stopped()) stop_reading(fanout.code());
    if (fanout.answer() == Fanout::Answer::Finished && !std::exchange(legs_->has_told_end, true)) end_delivery();
  }
  settle();
  legs_->is_stepping = false;
  if (fanout.next_deadline() < armed_) arm();
}

void ClientRelay::on_finished(LegId leg) {
  if (!legs_) return Relay::on_finished(leg);
  legs_->fanout.on_finished(leg);
  step();
}

void ClientRelay::on_stopped(LegId leg, StreamCode code) {
  if (!legs_) return Relay::on_stopped(leg, code);
  legs_->fanout.on_stopped(leg, code);
  step();
}

void ClientRelay::on_reset(LegId leg, StreamCode code) {
  if (!legs_) return Relay::on_reset(leg, code);
  if (try_elsewhere(leg, code)) return;
  legs_->streams[leg].id = 0;
  leave_server(leg);
  legs_->fanout.on_failed(leg, code);
  step();
}

void ClientRelay::on_reset_reason(std::string_view reason) { controller_.remember_reason(id(), reason); }

// --- Answers -----------------------------------------------------------------------------------------------------

void ClientRelay::on_data(LegId leg, iovec* parts, int count, std::size_t size, std::size_t part) {
  if (!legs_) return Relay::on_data(leg, parts, count, size, part);
  if (stage_ == Stage::Closed) return;
  Fanout& fanout = legs_->fanout;
  legs_->is_stepping = true;  // what a write causes waits until all is delivered
  auto [deliver, hold] = fanout.on_data(leg, size, part);
  run_commands();
  // Every one of the parts lies in one frame: the bytes are cut between two of them.
  int first = 0;
  for (std::size_t bytes = 0; bytes < deliver; first++) bytes += parts[first].iov_len;
  if (deliver > 0) {
    deliver_held(leg, fanout.leg(leg).held.size());
    if (stage_ == Stage::Closed) return;
    deliver_from(leg, parts, first, deliver);
    if (stage_ == Stage::Closed) return;
  }
  for (std::size_t left = hold; left > 0; first++) {
    Bytes bytes(static_cast<const std::byte*>(parts[first].iov_base), parts[first].iov_len);
    fanout.hold(leg, bytes, left <= part);
    left -= bytes.size();
  }
  if (std::size_t rest = size - deliver - hold; rest > 0)
    if (Session* session = session_of(leg))
      session->consumed(legs_->streams[leg].id, rest, worker_.now(), is_pressed());
  legs_->is_stepping = false;
  step();
}

void ClientRelay::deliver_from(LegId leg, iovec* parts, int count, std::size_t size) {
  auto& delivered = legs_->delivered;
  if (delivered.empty() || delivered.back().first != leg) delivered.emplace_back(leg, 0);
  delivered.back().second += size;
  deliver(parts, count, size);
}

void ClientRelay::deliver_held(LegId leg, std::size_t bytes) {
  while (bytes > 0) {
    iovec parts[kMostParts];
    int count = legs_->fanout.leg(leg).held.gather(parts, kMostParts);
    std::size_t size = 0;
    int used = 0;
    for (; used < count && size < bytes; used++) {
      parts[used].iov_len = std::min(parts[used].iov_len, bytes - size);
      size += parts[used].iov_len;
    }
    deliver_from(leg, parts, used, size);
    if (stage_ == Stage::Closed) return;  // the client broke, and nothing is held any more
    legs_->fanout.take_held(leg, size);
    bytes -= size;
  }
}

void ClientRelay::give_credit(std::size_t bytes) {
  if (!legs_) return Relay::give_credit(bytes);
  auto& delivered = legs_->delivered;
  while (bytes > 0) {
    auto& [leg, due] = delivered.front();
    std::size_t part = std::min(bytes, due);
    if (Session* session = session_of(leg))
      session->consumed(legs_->streams[leg].id, part, worker_.now(), is_pressed());
    bytes -= part;
    due -= part;
    if (due == 0) delivered.pop_front();
  }
}

// --- The client's bytes ------------------------------------------------------------------------------------------

void ClientRelay::want() {
  if (!legs_) return Relay::want();
  for (LegId leg = 0; leg < legs_->fanout.leg_count(); leg++)
    if (legs_->fanout.may_read(leg) > 0)
      if (Session* session = session_of(leg)) session->want(legs_->streams[leg].id);
}

void ClientRelay::fill(Session& session, const Session::Quantum& quantum, LegId leg) {
  if (!legs_ || legs_->fanout.is_direct(leg)) return Relay::fill(session, quantum, leg);
  if (stage_ == Stage::Closed) return session.fill_done(quantum.stream, 0, false);
  Fanout& fanout = legs_->fanout;
  std::optional<Io> read;
  if (std::size_t most = fanout.may_read(leg); most > 0 && flow_.is_readable() && can_read()) {
    iovec place = fanout.reserve(std::min({read_size(), quantum.bytes, most}));
    IoResult result = read_some(&place, 1, place.iov_len);
    fanout.commit(leg, result.bytes);
    read = result.status;
  }
  for (std::size_t left = quantum.bytes; left > 0 && fanout.unsent(leg) > 0;) {
    Slice piece = fanout.piece(leg);
    piece.size = std::min(piece.size, left);
    session.share(quantum, piece);
    fanout.on_sent(leg, piece.size, worker_.now());
    left -= piece.size;
    last_activity_ = worker_.now();
  }
  bool may_read = flow_.is_readable() && can_read() && fanout.may_read(leg) > 0;
  session.fill_done(quantum.stream, 0, fanout.unsent(leg) > 0 || may_read);
  if (read) after_read(*read);
  step();
}

void ClientRelay::finish_stream() {
  if (!legs_) return Relay::finish_stream();
  legs_->fanout.finish();
  step();
}

void ClientRelay::stop_stream(StreamCode code) {
  if (!legs_) return Relay::stop_stream(code);
  legs_->fanout.stop_answers(code);
  run_commands();
  step();
}

void ClientRelay::reset_stream(StreamCode code) {
  if (!legs_) return Relay::reset_stream(code);
  legs_->fanout.abandon(code);
  run_commands();
}

// --- The end, and time -------------------------------------------------------------------------------------------

bool ClientRelay::is_sent() const {
  if (!legs_) return Relay::is_sent();
  for (LegId leg = 0; leg < legs_->fanout.leg_count(); leg++) {
    const Legs::Stream& stream = legs_->streams[leg];
    bool has_more = legs_->fanout.unsent(leg) > 0 || legs_->fanout.leg(leg).held.size() > 0;
    if (stream.id != 0 && (has_more || !is_link_clear(stream.peer))) return false;
  }
  return true;
}

bool ClientRelay::is_stream_over() const { return !legs_ || legs_->fanout.is_over(); }

void ClientRelay::on_close() {
  controller_.forget_reason(id());
  if (!legs_) return;
  reset_stream(StreamCode::Cancelled);
  for (LegId leg = 0; leg < legs_->fanout.leg_count(); leg++) leave_server(leg);
}

StreamCode ClientRelay::connect_timeout_code() const {
  if (service_->fanout.quorum > 1) return StreamCode::NoQuorum;
  return is_without_link() ? controller_.why_no_link(*this) : StreamCode::ConnectTimeout;
}

bool ClientRelay::is_without_link() const {
  if (!legs_) return stage_ == Stage::Waiting;
  for (LegId leg = 0; leg < legs_->fanout.leg_count(); leg++)
    if (legs_->fanout.leg(leg).has_stream()) return false;
  return true;
}

Time ClientRelay::next_deadline() const {
  Time deadline = Relay::next_deadline();
  if (!legs_ || stage_ == Stage::Closed) return deadline;
  bool is_opening = stage_ == Stage::Open && legs_->fanout.is_opening();
  if (is_opening) deadline = std::min(deadline, started_ + service_->connect_timeout);
  return std::min(deadline, legs_->fanout.next_deadline());
}

bool ClientRelay::on_own_deadline(Time now) {
  if (!legs_) return false;
  Fanout& fanout = legs_->fanout;
  bool is_late = now >= started_ + service_->connect_timeout && fanout.is_opening();
  if (!is_late && now < fanout.next_deadline()) return false;
  if (is_late) fanout.on_connect_timeout();
  fanout.on_time(now);
  step();
  return true;
}

// --- The log -----------------------------------------------------------------------------------------------------

// A `server` that points at another controller's `bind` is a mistake that shows here only.
void ClientRelay::on_first_bytes(Bytes bytes) const {
  if (bytes.size() < kMagic.size() || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) return;
  log_line(LogLevel::Warning, service_->name,
           "this client speaks the protocol of links; is it a controller that was pointed at a controller?",
           {{"client", client_.view()}, {"id", conversation_}});
}

std::string_view ClientRelay::mode_word() const { return name_of(service_->mode); }

// The address that the leg was opened at, or what the configuration says.
std::string ClientRelay::server_of(LegId leg) const {
  const std::string& address = legs_->streams[leg].address;
  return address.empty() ? server_name(its_service().endpoint(legs_->fanout.leg(leg).server)) : address;
}

std::string ClientRelay::server_text() const {
  if (!legs_ && service_->mode != Mode::OneToOne) return "-";
  if (!legs_) {
    const Endpoint& server = service_->servers.front().endpoint;
    Peer* peer = server.is_name() ? worker_.links().find(peer_) : nullptr;
    return peer ? peer->address() : server_name(server);
  }
  const Fanout& fanout = legs_->fanout;
  if (fanout.winner()) return server_of(*fanout.winner());
  bool has_one = service_->mode == Mode::Balance || service_->mode == Mode::OneToOne;
  return has_one ? server_of(fanout.leg_count() - 1) : "-";
}

void ClientRelay::add_fields(std::vector<Field>& fields) const {
  if (const std::string* reason = controller_.reason_of(id())) fields.push_back({"reason", *reason});
  if (service_->mode == Mode::OneToOne) return;
  fields.push_back({"legs", std::uint64_t{legs_ ? legs_->fanout.leg_count() : 0}});
  if (legs_) fields.push_back({"ends", ends()});
}

// "10.0.0.1:9000=lost-race 10.0.0.2:9000=winner"
std::string ClientRelay::ends() const {
  std::string text;
  for (LegId id = 0; id < legs_->fanout.leg_count(); id++) {
    const Leg& leg = legs_->fanout.leg(id);
    text += (text.empty() ? "" : " ") + server_of(id) + "=";
    if (legs_->fanout.winner() == id)
      text += "winner";
    else if (leg.state == LegState::Failed || leg.state == LegState::Dropped)
      text += name_of(leg.code);
    else
      text += leg.state == LegState::Ended ? "fin" : "open";
  }
  return text;
}

}  // namespace cloudbus
