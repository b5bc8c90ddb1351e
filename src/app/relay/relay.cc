// SPDX-License-Identifier: Apache-2.0
// long: a conversation's socket and its stream, whose callbacks share one state
#include "cloudbus/app/relay/relay.h"

#include <algorithm>
#include <utility>

#include "cloudbus/app/link/peer.h"
#include "cloudbus/app/worker/worker.h"

namespace cloudbus {
namespace {

constexpr std::size_t kLargeRead = Output::kMaxFill;
constexpr int kMostParts = 64;
constexpr std::size_t kMostFields = 12;  // of a conversation's line
constexpr Duration kResetPoll =
    std::chrono::milliseconds(5);  // first look whether what is before a reset was delivered
constexpr Duration kIdleLook = std::chrono::milliseconds(500);  // in a drain, at one that only seems idle
constexpr Duration kResetPatience = std::chrono::seconds(30);   // for a peer that takes nothing before a reset
constexpr Duration kLoserPatience = std::chrono::seconds(1);    // where the rest will never come

Duration reset_patience(StreamCode code) {
  bool lost = code == StreamCode::LostRace || code == StreamCode::Lagging || code == StreamCode::NoQuorum;
  return lost ? kLoserPatience : kResetPatience;
}

}  // namespace

Relay::Relay(Worker& worker, const ServiceRef& service, Side near, std::string_view client, const Uuid& conversation)
    : Conversation(worker.new_id()),
      worker_(worker),
      service_(service),
      flow_(near),
      client_(client),
      conversation_(conversation),
      started_(worker.now()),
      last_activity_(started_) {
  service_.service().on_begun();
}

Relay::~Relay() {
  close_connection();
  worker_.timers().clear(*this, armed_);
  service_.service().on_ended();
}

void Relay::start_connection(int fd, const Address& address) {
  service_.service().descriptors().take();
  is_remote_ = !address.is_unix() && !address.is_loopback() && service_->keepalive.after > Duration::zero();
  if (is_remote_) set_keepalive(fd, service_->keepalive);
  connection_.start(worker_.loop(), fd, address.is_unix(), *this);
}

void Relay::close_connection() {
  if (connection_.is_open()) service_.service().descriptors().give_back();
  connection_.close();
}

void Relay::opened() {
  stage_ = Stage::Open;
  opened_ = last_activity_ = worker_.now();
  arm();
}

// --- The stream --------------------------------------------------------------------------------------------------

Session* Relay::session() {
  Peer* peer = worker_.links().find(peer_);
  if (!peer || stream_ == 0) return nullptr;
  worker_.links().touch(*peer);
  return &peer->session();
}

void Relay::want() {
  if (Session* carrier = session()) carrier->want(stream_);
}

void Relay::finish_stream() {
  if (Session* carrier = session()) carrier->finish(stream_);
}

void Relay::stop_stream(StreamCode code) {
  if (Session* carrier = session()) carrier->stop(stream_, code);
}

void Relay::reset_stream(StreamCode code) {
  if (Session* carrier = session()) carrier->reset(stream_, code);
}

void Relay::give_credit(std::size_t bytes) {
  if (Session* carrier = session()) carrier->consumed(stream_, bytes, worker_.now(), is_pressed());
}

void Relay::on_data(LegId, iovec* parts, int count, std::size_t size, std::size_t) { deliver(parts, count, size); }

void Relay::on_finished(LegId) { end_delivery(); }

void Relay::on_stopped(LegId, StreamCode code) { stop_reading(code); }

void Relay::on_reset(LegId, StreamCode code) { break_off(code); }

// --- From the socket to the stream -------------------------------------------------------------------------------

void Relay::on_ready(Ready ready) noexcept {
  if (stage_ == Stage::Closed) return;
  if (ready.ending) flow_.expect_end();
  if (stage_ == Stage::Dialing) {
    int error = connection_.take_error();
    if (error != 0 && !connection_.is_reset_behind_bytes(error)) return on_connect_failed(error);
    if (!ready.writable) return;
    on_connected();
    if (error != 0) return on_write_failed(Io::Broken);
  }
  if (ready.readable) {
    if (flow_.looks_for_errors() && connection_.take_error() != 0) {
      if (stage_ == Stage::Waiting) return abort(flow_.near_reset());
      on_write_failed(Io::Broken);
    }
    flow_.on_readable();
    if (flow_.reads()) want();
  }
  if (ready.writable && stage_ == Stage::Open) {
    flow_.on_writable();
    write_pending();
  }
}

bool Relay::can_read() const { return flow_.reads() && stage_ != Stage::Dialing && connection_.is_open(); }

void Relay::fill(Session& session, const Session::Quantum& quantum, LegId) {
  if (!can_read()) return session.fill_done(quantum.stream, 0, false);
  Session::Quantum rest = quantum;
  IoResult result;
  bool at_end;
  do {
    Output::Room room = session.reserve(rest, read_size());
    result = read_some(room.parts.data(), room.count, room.size);
    rest.bytes -= result.bytes;
    at_end = flow_.is_at_end() && rest.bytes > 0;
    session.fill_done(quantum.stream, result.bytes, flow_.is_readable() && !at_end);
  } while (at_end);
  after_read(result.status);
}

// Reads once. after_read() comes when the bytes are where they belong.
IoResult Relay::read_some(iovec* parts, int count, std::size_t size) {
  IoResult result = connection_.read(parts, count);
  flow_.on_read(result.bytes, size);
  if (result.status != Io::Done) return result;
  if (result.had_descriptors) log_descriptors();
  if (read_ == 0)
    on_first_bytes({static_cast<const std::byte*>(parts->iov_base), std::min(result.bytes, parts->iov_len)});
  read_ += result.bytes;
  last_activity_ = worker_.now();
  if (result.bytes == read_size() && read_size() < kLargeRead)
    read_doublings_++;
  else if (result.bytes < std::min(size, read_size() / 4) && read_doublings_ > 0)
    read_doublings_--;
  return result;
}

void Relay::after_read(Io status) {
  if (status == Io::End) return read_ended();
  if (status != Io::Done && status != Io::Again) return run(flow_.on_read_failed());
  if (!flow_.was_emptied() || is_listed_) return;
  is_listed_ = true;
  worker_.roster().look_behind_later(*this);
}

bool Relay::look_behind(Time now) {
  if (!flow_.was_emptied() || stage_ == Stage::Closed) return !(is_listed_ = false);
  if (now - last_activity_ < Roster::kLookBehindAfter) return false;
  is_listed_ = false;
  flow_.look_again();
  if (flow_.reads()) want();
  return true;
}

void Relay::read_ended() {
  last_activity_ = worker_.now();
  run(flow_.on_read_end());
  settle();
  arm();
}

// The peer wants no more.
void Relay::stop_reading(StreamCode code) {
  if (stage_ == Stage::Closed) return;
  run(flow_.on_stop(code));
  settle();
  arm();
}

// --- From the stream to the socket -------------------------------------------------------------------------------

void Relay::deliver(iovec* parts, int count, std::size_t size) {
  if (stage_ == Stage::Closed) return;
  Flow::Delivery delivery = flow_.delivery();
  if (delivery == Flow::Delivery::Discard) return give_credit(size);
  bool is_connecting = stage_ == Stage::Dialing && connection_.is_open();
  if (delivery == Flow::Delivery::Write && (stage_ == Stage::Open || is_connecting))
    return write_now(parts, count, size);
  flow_.keep(parts, count, 0, service_.service().memory());
}

// Where several streams may still have something to say, the end of one is not the client's.
void Relay::expect_finish() {
  bool has_one_stream = stream_ != 0;
  if (has_one_stream && stage_ == Stage::Open) flow_.expect_finish();
}

void Relay::write_now(iovec* parts, int count, std::size_t size) {
  IoResult result = connection_.write(parts, count, flow_.finish_follows());
  if (result.status == Io::Broken || result.status == Io::NotReading) {
    bool is_connecting = stage_ == Stage::Dialing;
    if (is_connecting) flow_.keep(parts, count, 0, service_.service().memory());  // for another server
    on_write_failed(result.status);
    if (!is_connecting) give_credit(size);
    return;
  }
  if (result.status == Io::Done && stage_ == Stage::Dialing) on_connected();
  after_write(result.bytes);
  if (result.bytes == size) return;
  if (stage_ == Stage::Open) flow_.on_blocked();
  flow_.keep(parts, count, result.bytes, service_.service().memory());
}

void Relay::write_pending() {
  while (flow_.has_pending() && stage_ != Stage::Closed) {
    iovec parts[kMostParts];
    IoResult result = connection_.write(parts, flow_.gather(parts, kMostParts));
    if (result.status == Io::Again) {
      if (stage_ == Stage::Open) flow_.on_blocked();
      return;
    }
    if (result.status != Io::Done) return on_write_failed(result.status);
    if (stage_ == Stage::Dialing) on_connected();
    after_write(result.bytes);
  }
  settle();
}

void Relay::after_write(std::size_t bytes) {
  if (bytes == 0) return;
  last_activity_ = worker_.now();
  std::size_t credit = flow_.on_written(bytes);
  written_ += credit;
  if (credit > 0) give_credit(credit);
}

void Relay::on_write_failed(Io status) {
  if (stage_ == Stage::Dialing) {
    int error = connection_.take_error();
    if (!connection_.is_reset_behind_bytes(error)) return on_connect_failed(error);
    on_connected();
  }
  auto [credit, action] = flow_.on_write_failed(status == Io::NotReading);
  if (credit > 0) give_credit(credit);
  run(action);
}

// The peer has said everything.
void Relay::end_delivery() {
  if (stage_ == Stage::Closed) return;
  flow_.on_finish();
  last_activity_ = worker_.now();
  settle();
  arm();
}

// The stream is gone.
void Relay::break_off(StreamCode code) {
  if (stage_ == Stage::Closed) return;
  flow_.on_reset(code);
  last_activity_ = worker_.now();
  settle();
}

// --- The end -----------------------------------------------------------------------------------------------------

// A reset waits until the peer's kernel has what came before it, which no event tells: on_deadline() looks again.
void Relay::settle() {
  while (flow_.is_ending()) {
    bool may_be_delivered = flow_.is_resetting() && !flow_.has_pending();
    bool is_delivered = may_be_delivered && (connection_.is_unix() || connection_.unacknowledged() == 0);
    Flow::Action action = flow_.next({stage_ == Stage::Open, is_stream_over(), is_delivered});
    if (action == Flow::Action::None) break;
    run(action);
  }
  if (flow_.is_resetting()) arm();
}

void Relay::run(Flow::Action action) {
  using Action = Flow::Action;
  switch (action) {
    case Action::None:
    case Action::AwaitDelivery: return;
    case Action::Want: return want();
    case Action::FinishStream: return finish_stream();
    case Action::StopStream: return stop_stream(flow_.code());
    case Action::FinishSocket: return connection_.finish();
    case Action::StopSocket: return connection_.stop_reading();
    case Action::Close: return close(fin_words());
    case Action::Reset: return reset();
    case Action::Abort: reset_stream(flow_.code()); return reset();
  }
}

bool Relay::is_link_clear(PeerId id) const {
  Peer* peer = worker_.links().find(id);
  return peer && peer->keeps_up();
}

bool Relay::is_sent() const { return is_link_clear(peer_); }

// It waits for its client, who may begin another one. A request waits for its answer; who publishes gets none.
bool Relay::is_idle(Time now) const {
  Duration most = worker_.config().drain_idle;
  if (most == Duration::zero() || stage_ != Stage::Open || now - last_activity_ < most) return false;
  bool may_end = flow_.last() == Side::Server || service_->mode == Mode::Publish;
  return may_end && flow_.is_quiet() && is_sent();
}

void Relay::on_drain() {
  if (is_idle(worker_.now())) return abort(StreamCode::DrainTimeout);
  arm();
}

void Relay::abort(StreamCode code) { run(flow_.abort(code)); }

void Relay::reset() {
  connection_.abort_on_close();
  close(name_of(flow_.code()));
}

void Relay::close(std::string_view end) {
  if (stage_ == Stage::Closed) return;
  flow_.close();
  log_conversation(end);
  on_close();
  stage_ = Stage::Closed;
  close_connection();
  worker_.timers().clear(*this, armed_);
  worker_.roster().retire(*this);
}

std::string_view Relay::fin_words() const {
  bool is_client_first = (flow_.near() == Side::Client) == flow_.has_near_ended_first();
  return is_client_first ? "client-fin/server-fin" : "server-fin/client-fin";
}

void Relay::log_step(std::string_view what) const {
  if (!log_enabled(LogLevel::Debug)) return;
  log_line(LogLevel::Debug, service_->name, what,
           {{"client", client_.view()}, {"link", peer_}, {"stream", stream_}, {"id", conversation_}});
}

// Each time: what is sent with them seldom is, and the one who sent them waits for something that will not come.
void Relay::log_descriptors() const {
  log_line(LogLevel::Warning, service_->name, "descriptors came with the bytes; they are not carried, and were closed",
           {{"from", std::string_view(flow_.near() == Side::Client ? "client" : "server")},
            {"client", client_.view()},
            {"id", conversation_}});
}

void Relay::log_conversation(std::string_view end) const {
  LogLevel level = end == name_of(flow_.code()) && is_failure(flow_.code()) ? LogLevel::Warning : LogLevel::Info;
  if (!log_enabled(level)) return;
  bool reads_client = flow_.near() == Side::Client;
  std::vector<Field> fields;
  fields.reserve(kMostFields);
  fields.push_back({"client", client_.view()});
  fields.push_back({"server", server_text()});
  fields.push_back({"id", conversation_});
  fields.push_back({"mode", mode_word()});
  add_fields(fields);
  fields.push_back({"open", std::string_view("-")});
  if (opened_ != Time{}) fields.back().value = opened_ - started_;
  fields.push_back({"total", worker_.now() - started_});
  fields.push_back({"up", reads_client ? read_ : written_});
  fields.push_back({"down", reads_client ? written_ : read_});
  fields.push_back({"end", end});
  log_line(level, service_->name, "", fields);
}

// --- Time --------------------------------------------------------------------------------------------------------

Time Relay::next_deadline() const {
  if (stage_ == Stage::Closed) return Time::max();
  if (stage_ != Stage::Open) return started_ + service_->connect_timeout;
  if (flow_.is_resetting()) {
    Duration waited = worker_.now() - last_activity_;
    return flow_.has_pending() ? last_activity_ + reset_patience(flow_.code())
                               : worker_.now() + std::max(kResetPoll, waited / 4);
  }
  Time deadline = Time::max();
  if (service_->idle_timeout > Duration::zero()) deadline = last_activity_ + service_->idle_timeout;
  if (flow_.is_half_closed() && service_->half_close_timeout > Duration::zero())
    deadline = std::min(deadline, last_activity_ + service_->half_close_timeout);
  if (is_remote_) deadline = std::min(deadline, next_look_for_peer());
  return std::min(deadline, next_idle_look());
}

Time Relay::next_idle_look() const {
  Duration most = worker_.config().drain_idle;
  if (!worker_.is_draining() || most == Duration::zero()) return Time::max();
  return std::max(last_activity_ + most, worker_.now() + std::min(most, kIdleLook));
}

// The kernel does not probe a peer that has bytes to acknowledge, and gives it a quarter of an hour. One that lives and
// keeps its window closed answers the probes of that.
Time Relay::next_look_for_peer() const {
  Duration patience = service_->keepalive.patience();
  return last_activity_ + ((worker_.now() - last_activity_) / patience + 1) * patience;
}

void Relay::arm() { worker_.timers().set(*this, next_deadline(), armed_); }

void Relay::on_deadline(Time now) {
  armed_ = Time::max();
  if (on_own_deadline(now)) return arm();
  if (flow_.is_resetting()) return now - last_activity_ >= reset_patience(flow_.code()) ? reset() : settle();
  if (is_remote_ && stage_ == Stage::Open && connection_.is_unanswered_for(service_->keepalive.patience()))
    return abort(flow_.near_reset());
  if (worker_.is_draining() && is_idle(now)) return abort(StreamCode::DrainTimeout);
  if (now < next_deadline()) return arm();
  if (stage_ != Stage::Open) return abort(connect_timeout_code());
  bool idle = service_->idle_timeout > Duration::zero() && now - last_activity_ >= service_->idle_timeout;
  abort(idle ? StreamCode::IdleTimeout : StreamCode::HalfCloseTimeout);
}

}  // namespace cloudbus
