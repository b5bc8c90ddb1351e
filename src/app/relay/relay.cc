// SPDX-License-Identifier: Apache-2.0
// long: a conversation's socket and its stream, whose callbacks share one state
#include "cloudbus/app/relay/relay.h"

#include <algorithm>
#include <utility>

#include "cloudbus/app/link/peer.h"
#include "cloudbus/app/worker/worker.h"

namespace cloudbus {
namespace {

constexpr std::uint32_t kLargeRead = Output::kMaxFill;
constexpr int kMostParts = 64;
constexpr std::size_t kMostFields = 12;  // of a conversation's line
constexpr Duration kResetPoll =
    std::chrono::milliseconds(5);  // first look whether what is before a reset was delivered
constexpr Duration kResetPatience = std::chrono::seconds(30);  // for a peer that takes nothing before a reset
constexpr Duration kLoserPatience = std::chrono::seconds(1);   // where the rest will never come

Duration reset_patience(StreamCode code) {
  bool lost = code == StreamCode::LostRace || code == StreamCode::Lagging || code == StreamCode::NoQuorum;
  return lost ? kLoserPatience : kResetPatience;
}

}  // namespace

Relay::Relay(Worker& worker, const ServiceRef& service, Side near, std::string_view client, const Uuid& conversation)
    : Conversation(worker.new_id()),
      worker_(worker),
      service_(service),
      client_(client),
      conversation_(conversation),
      started_(worker.now()),
      last_activity_(started_),
      read_size_(kSmallRead),
      near_(near) {
  service_.service().on_begun();
}

Relay::~Relay() {
  worker_.timers().clear(*this, armed_);
  service_.service().on_ended();
}

void Relay::start_connection(int fd, bool is_unix) { connection_.start(worker_.loop(), fd, is_unix, *this); }

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
  if (Session* carrier = session()) carrier->consumed(stream_, bytes, worker_.now());
}

void Relay::on_data(LegId, iovec* parts, int count, std::size_t size, std::size_t) { deliver(parts, count, size); }

void Relay::on_finished(LegId) { end_delivery(); }

void Relay::on_stopped(LegId, StreamCode code) { stop_reading(code); }

void Relay::on_reset(LegId, StreamCode code) { break_off(code); }

// --- From the socket to the stream -------------------------------------------------------------------------------

void Relay::on_ready(Ready ready) noexcept {
  if (stage_ == Stage::Closed) return;
  ending_ |= ready.ending;
  if (stage_ == Stage::Dialing) {
    int error = connection_.take_error();
    if (error != 0 && !connection_.is_reset_behind_bytes(error)) return on_connect_failed(error);
    if (!ready.writable) return;
    on_connected();
    if (error != 0) return on_write_failed(Io::Broken);
  }
  if (ready.readable) {
    // While reading waits for credit, or has ended, nothing else would tell that the socket broke.
    bool unread = readable_ || read_done_;
    if (unread && !broken_ && connection_.take_error() != 0) {
      if (stage_ == Stage::Waiting) return abort(near_reset());
      on_write_failed(Io::Broken);
    }
    readable_ = true;
    if (!read_done_) want();
  }
  if (ready.writable && stage_ == Stage::Open) {
    writable_ = true;
    write_pending();
  }
}

bool Relay::can_read() const {
  return stage_ != Stage::Closed && stage_ != Stage::Dialing && !read_done_ && connection_.is_open();
}

void Relay::fill(Session& session, const Session::Quantum& quantum, LegId) {
  if (!can_read()) return session.fill_done(quantum.stream, 0, false);
  Session::Quantum rest = quantum;
  IoResult result;
  bool at_end;
  do {  // where only the end is left to be read, it is read at once, so that FIN can go with the bytes
    Output::Room room = session.reserve(rest, read_size_);
    result = read_some(room.parts.data(), room.count, room.size);
    rest.bytes -= result.bytes;
    at_end = result.status == Io::Done && ending_ && result.bytes < room.size && rest.bytes > 0;
    session.fill_done(quantum.stream, result.bytes, readable_ && !at_end);
  } while (at_end);
  after_read(result.status);
}

// Reads once. readable_ says whether there may be more. after_read() comes when the bytes are where they belong.
IoResult Relay::read_some(iovec* parts, int count, std::size_t size) {
  IoResult result = connection_.read(parts, count);
  readable_ = result.status == Io::Done && (result.bytes == size || ending_);
  if (result.status != Io::Done) return result;
  if (read_ == 0)
    on_first_bytes({static_cast<const std::byte*>(parts->iov_base), std::min(result.bytes, parts->iov_len)});
  read_ += result.bytes;
  last_activity_ = worker_.now();
  if (result.bytes == read_size_)
    read_size_ = std::min(read_size_ * 2, kLargeRead);
  else if (result.bytes < std::min<std::size_t>(size, read_size_ / 4))
    read_size_ = std::max(read_size_ / 2, kSmallRead);
  return result;
}

void Relay::after_read(Io status) {
  emptied_ = status == Io::Done && !readable_;
  if (status == Io::End && !broken_) return read_ended();
  if (status != Io::Done && status != Io::Again) return abort(near_reset());
  if (!emptied_ || is_listed_) return;
  is_listed_ = true;
  worker_.roster().look_behind_later(*this);
}

bool Relay::look_behind(Time now) {
  if (!emptied_ || stage_ == Stage::Closed) return !(is_listed_ = false);
  if (now - last_activity_ < Roster::kLookBehindAfter) return false;
  emptied_ = is_listed_ = false;
  if (!read_done_) want();
  return true;
}

void Relay::read_ended() {
  read_done_ = true;
  if (!first_fin_) first_fin_ = near_side();
  last_activity_ = worker_.now();
  finish_stream();
  close_if_done();
  arm();
}

// The peer wants no more.
void Relay::stop_reading(StreamCode code) {
  if (stage_ == Stage::Closed) return;
  end_code_ = code;
  has_end_code_ = cut_ = true;
  read_done_ = true;
  connection_.stop_reading();
  close_if_done();
  arm();
}

// --- From the stream to the socket -------------------------------------------------------------------------------

void Relay::deliver(iovec* parts, int count, std::size_t size) {
  if (stage_ == Stage::Closed) return;
  if (write_done_ || broken_) return give_credit(size);
  bool direct =
      pending_.empty() && writable_ && (stage_ == Stage::Open || (stage_ == Stage::Dialing && connection_.is_open()));
  if (direct) return write_now(parts, count, size);
  keep(parts, count, 0);
}

// Where several streams may still have something to say, the end of one is not the client's.
void Relay::expect_finish() {
  bool has_one_stream = stream_ != 0;
  fin_follows_ = has_one_stream && stage_ == Stage::Open && !has_end_code_;
}

void Relay::write_now(iovec* parts, int count, std::size_t size) {
  IoResult result = connection_.write(parts, count, fin_follows_);
  if (result.status == Io::Broken || result.status == Io::NotReading) {
    if (stage_ == Stage::Dialing) return keep(parts, count, 0), on_write_failed(result.status);  // for another server
    on_write_failed(result.status);
    return give_credit(size);
  }
  if (result.status == Io::Done && stage_ == Stage::Dialing) on_connected();
  after_write(result.bytes);
  if (result.bytes == size) return;
  if (stage_ == Stage::Open) writable_ = false;
  keep(parts, count, result.bytes);
}

// All but the first `skip` bytes wait until the socket takes them.
void Relay::keep(const iovec* parts, int count, std::size_t skip) {
  for (int i = 0; i < count; i++) {
    std::size_t taken = std::min(skip, parts[i].iov_len);
    skip -= taken;
    pending_.push(Bytes(static_cast<const std::byte*>(parts[i].iov_base), parts[i].iov_len).subspan(taken),
                  worker_.budget());
  }
}

void Relay::write_pending() {
  while (!pending_.empty() && stage_ != Stage::Closed) {
    iovec parts[kMostParts];
    IoResult result = connection_.write(parts, pending_.gather(parts, kMostParts));
    if (result.status == Io::Again) {
      if (stage_ == Stage::Open) writable_ = false;
      return;
    }
    if (result.status != Io::Done) return on_write_failed(result.status);
    if (stage_ == Stage::Dialing) on_connected();
    pending_.pop(result.bytes);
    after_write(result.bytes);
  }
  finish_if_drained();
}

void Relay::after_write(std::size_t bytes) {
  if (bytes == 0) return;
  written_ += bytes;
  last_activity_ = worker_.now();
  give_credit(bytes);
}

void Relay::drop_pending() {
  std::size_t bytes = pending_.size();
  pending_.pop(bytes);
  give_credit(bytes);
}

void Relay::on_write_failed(Io status) {
  if (stage_ == Stage::Dialing) {
    int error = connection_.take_error();
    if (!connection_.is_reset_behind_bytes(error)) return on_connect_failed(error);
    on_connected();
  }
  drop_pending();
  if (reset_pending_) return close_with(end_code_);
  if (status == Io::NotReading && !read_done_) {
    // A Unix peer may read no more and still have something to say.
    write_done_ = cut_ = has_end_code_ = true;
    end_code_ = near_reset();
    return stop_stream(end_code_);
  }
  if (read_done_) return abort(near_reset());
  broken_ = true;  // what the socket still holds was sent before it broke, and is read first
  want();
}

// The peer has said everything.
void Relay::end_delivery() {
  if (stage_ == Stage::Closed) return;
  fin_received_ = true;
  fin_follows_ = false;
  if (!first_fin_) first_fin_ = far_side();
  last_activity_ = worker_.now();
  finish_if_drained();
  arm();
}

void Relay::finish_if_drained() {
  if (!pending_.empty() || stage_ != Stage::Open) return;
  if (reset_pending_) return reset_if_drained();
  if (!fin_received_ || write_done_) return;
  write_done_ = true;
  if (!read_done_ || cut_ || !is_stream_over()) connection_.finish();  // otherwise closing says it
  close_if_done();
}

// The stream is gone.
void Relay::break_off(StreamCode code) {
  if (stage_ == Stage::Closed) return;
  end_code_ = code;
  has_end_code_ = true;
  if (stage_ != Stage::Open) return close_with(code);
  reset_pending_ = read_done_ = true;
  last_activity_ = worker_.now();
  reset_if_drained();
}

// What came before the reset reaches the peer's kernel before the reset does.
void Relay::reset_if_drained() {
  bool drained = pending_.empty() && connection_.unacknowledged() == 0;
  if (drained || connection_.is_unix() || broken_) {
    if (pending_.empty()) return close_with(end_code_);
  }
  arm();
}

// --- The end -----------------------------------------------------------------------------------------------------

void Relay::abort(StreamCode code) {
  if (stage_ == Stage::Closed) return;
  reset_stream(code);
  close_with(code);
}

void Relay::close_if_done() {
  if (stage_ != Stage::Open || !read_done_ || !write_done_ || !is_stream_over()) return;
  if (has_end_code_) {
    reset_pending_ = true;
    return reset_if_drained();
  }
  close(fin_words());
}

void Relay::close_with(StreamCode code) {
  end_code_ = code;
  has_end_code_ = true;
  connection_.reset();
  close(name_of(code));
}

void Relay::close(std::string_view end) {
  if (stage_ == Stage::Closed) return;
  log_conversation(end);
  on_close();
  stage_ = Stage::Closed;
  connection_.close();
  worker_.timers().clear(*this, armed_);
  worker_.roster().retire(*this);
}

std::string_view Relay::fin_words() const {
  return first_fin_ == Side::Client ? "client-fin/server-fin" : "server-fin/client-fin";
}

void Relay::log_step(std::string_view what) const {
  if (!log_enabled(LogLevel::Debug)) return;
  log_line(LogLevel::Debug, service_->name, what,
           {{"client", client_.view()}, {"link", peer_}, {"stream", stream_}, {"id", conversation_}});
}

void Relay::log_conversation(std::string_view end) const {
  if (!log_enabled(LogLevel::Info)) return;
  bool reads_client = near_ == Side::Client;
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
  log_line(LogLevel::Info, service_->name, "", fields);
}

// --- Time --------------------------------------------------------------------------------------------------------

Time Relay::next_deadline() const {
  if (stage_ == Stage::Closed) return Time::max();
  if (stage_ != Stage::Open) return started_ + service_->connect_timeout;
  if (reset_pending_) {
    Duration waited = worker_.now() - last_activity_;
    return pending_.empty() ? worker_.now() + std::max(kResetPoll, waited / 4)
                            : last_activity_ + reset_patience(end_code_);
  }
  Time deadline = Time::max();
  if (service_->idle_timeout > Duration::zero()) deadline = last_activity_ + service_->idle_timeout;
  if ((read_done_ || fin_received_ || broken_) && service_->half_close_timeout > Duration::zero())
    deadline = std::min(deadline, last_activity_ + service_->half_close_timeout);
  return deadline;
}

void Relay::arm() { worker_.timers().set(*this, next_deadline(), armed_); }

void Relay::on_deadline(Time now) {
  armed_ = Time::max();
  if (on_own_deadline(now)) return arm();
  if (stage_ == Stage::Open && reset_pending_) {
    if (now - last_activity_ >= reset_patience(end_code_)) return close_with(end_code_);
    return reset_if_drained();
  }
  if (now < next_deadline()) return arm();
  if (stage_ != Stage::Open) return abort(connect_timeout_code());
  bool idle = service_->idle_timeout > Duration::zero() && now - last_activity_ >= service_->idle_timeout;
  abort(idle ? StreamCode::IdleTimeout : StreamCode::HalfCloseTimeout);
}

}  // namespace cloudbus
