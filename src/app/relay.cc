// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/relay.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cloudbus/app/log.h"
#include "cloudbus/app/peer.h"
#include "cloudbus/app/worker.h"
#include "cloudbus/net/dialer.h"
#include "cloudbus/net/socket_error.h"

namespace cloudbus {
namespace {

constexpr std::uint32_t kSmallRead = 16 * 1024;
constexpr std::uint32_t kLargeRead = Output::kMaxFill;
constexpr int kMostParts = 64;
constexpr Duration kResetPoll =
    std::chrono::milliseconds(5);  // first look whether what is before a reset was delivered
constexpr Duration kResetPatience = std::chrono::seconds(30);   // for a peer that takes nothing before a reset
constexpr Duration kDialAgain = std::chrono::milliseconds(20);  // a Unix backend whose queue is full

}  // namespace

Relay::Relay(Worker& worker, OwnerId id, const ServiceConfig& service, int client_fd, const Address& client)
    : worker_(worker),
      service_(service),
      id_(id),
      client_(client.to_string()),
      conversation_(worker.new_conversation()),
      started_(worker.now()),
      last_activity_(started_),
      read_size_(kSmallRead),
      stage_(Stage::Waiting) {
  connection_.start(worker.loop(), client_fd, client.is_unix(), *this);
  arm();
}

Relay::Relay(Worker& worker, OwnerId id, const ServiceConfig& service, Peer& peer, StreamId stream,
             const OpenRequest& request)
    : worker_(worker),
      service_(service),
      id_(id),
      peer_(peer.id()),
      stream_(stream),
      client_(request.client),
      conversation_(request.conversation),
      started_(worker.now()),
      last_activity_(started_),
      read_size_(kSmallRead),
      stage_(Stage::Queued),
      readable_(false) {
  arm();
}

Relay::~Relay() { worker_.timers().clear(id_, armed_); }

bool Relay::is_controller() const { return worker_.config().role == Role::Controller; }

Session* Relay::session() {
  Peer* peer = worker_.find_peer(peer_);
  if (!peer || stream_ == 0) return nullptr;
  worker_.touch(*peer);
  return &peer->session();
}

// --- Opening -----------------------------------------------------------------------------------------------------

void Relay::open_on(Peer& peer) {
  peer_ = peer.id();
  OpenRequest request{conversation_, 0, service_.service, client_.substr(0, 255)};
  stream_ = peer.session().open(request, id_);
  stage_ = Stage::Opening;
  log_step("opens a stream");
  peer.session().want(stream_);
  worker_.touch(peer);
}

void Relay::on_accepted() {
  if (stage_ != Stage::Opening) return;
  stage_ = Stage::Open;
  opened_ = last_activity_ = worker_.now();
  arm();
}

bool Relay::dial() {
  Peer* peer = worker_.find_peer(peer_);
  if (!peer) return true;
  if (stage_ == Stage::Queued) {
    stage_ = Stage::Dialing;
    peer->dialing++;
  }
  if (service_.servers.front().endpoint.is_builtin()) return start_builtin();
  Dial dialled = cloudbus::dial(service_.servers.front().endpoint.address);
  if (dialled.fd < 0) return dial_failed(dialled.error);
  connection_.start(worker_.loop(), dialled.fd, service_.servers.front().endpoint.address.is_unix(), *this);
  if (dialled.connected) connected();
  write_pending();  // often it is connected by now: this spares a turn
  return true;
}

bool Relay::start_builtin() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) return dial_failed(errno);
  worker_.add_builtin(service_.servers.front().endpoint.kind, ends[1]);
  connection_.start(worker_.loop(), ends[0], true, *this);
  connected();
  write_pending();
  return true;
}

void Relay::wait_again() {
  leave_dialing();
  stage_ = Stage::Queued;
}

void Relay::leave_dialing() {
  Peer* peer = worker_.find_peer(peer_);
  if (!peer) return;
  peer->dialing--;
  worker_.touch(*peer);
}

void Relay::connected() {
  log_step("is connected to the server");
  leave_dialing();
  stage_ = Stage::Open;
  opened_ = last_activity_ = worker_.now();
  if (Session* carrier = session()) carrier->accept(stream_);
  arm();
}

// False when it is to be tried again, by the one who called dial().
bool Relay::dial_failed(int error) {
  connection_.close();
  dial_error_ = error;
  if (is_out_of_descriptors(error)) return false;
  if (error == EAGAIN && service_.servers.front().endpoint.address.is_unix()) {  // its queue is full; on_deadline() tries again
    arm();
    return true;
  }
  log_line(
      LogLevel::Warning, service_.name, "cannot connect to the server",
      {{"server", service_.servers.front().endpoint.to_string()}, {"error", std::strerror(error)}, {"id", to_string(conversation_)}});
  abort(StreamCode::ConnectFailed);
  return true;
}

// --- From the socket to the stream -------------------------------------------------------------------------------

void Relay::on_ready(Ready ready) noexcept {
  if (stage_ == Stage::Closed) return;
  ending_ |= ready.ending;
  if (stage_ == Stage::Dialing) {
    if (int error = connection_.take_error()) {
      dial_failed(error);
      return;
    }
    if (!ready.writable) return;
    connected();
  }
  if (ready.readable) {
    // While reading waits for credit, or has ended, nothing else would tell that the socket broke.
    bool unread = readable_ || read_done_;
    if (unread && !broken_ && connection_.take_error() != 0) {
      if (stage_ == Stage::Waiting) return abort(near_reset());
      on_write_failed(Io::Broken);
    }
    readable_ = true;
    if (Session* carrier = session(); carrier && !read_done_) carrier->want(stream_);
  }
  if (ready.writable && stage_ == Stage::Open) {
    writable_ = true;
    write_pending();
  }
}

void Relay::fill(Session& session, const Session::Turn& turn) {
  if (stage_ == Stage::Closed || read_done_ || !connection_.is_open() || stage_ == Stage::Dialing)
    return session.fill_done(turn.stream, 0, false);
  Output::Room room = session.reserve(turn, read_size_);
  IoResult result = connection_.read(room.parts.data(), room.count);
  if (result.status != Io::Done) {
    readable_ = emptied_ = false;
    session.fill_done(turn.stream, 0, false);
    if (result.status == Io::Again) return;
    if (result.status == Io::End && !broken_) return read_ended();
    return abort(near_reset());
  }
  if (read_ == 0) note_first_bytes(room.parts[0], result.bytes);
  read_ += result.bytes;
  last_activity_ = worker_.now();
  if (result.bytes == read_size_)
    read_size_ = std::min(read_size_ * 2, kLargeRead);
  else if (result.bytes < std::min<std::size_t>(room.size, read_size_ / 4))
    read_size_ = std::max(read_size_ / 2, kSmallRead);
  bool more = result.bytes == room.size || ending_;
  readable_ = more;
  session.fill_done(turn.stream, result.bytes, more);
  if (more) return;
  emptied_ = true;
  if (!std::exchange(is_listed_, true)) worker_.look_behind_later(*this);
}

bool Relay::look_behind(Time now) {
  if (!emptied_ || stage_ == Stage::Closed) return !(is_listed_ = false);
  if (now - last_activity_ < Worker::kQuiet) return false;
  emptied_ = is_listed_ = false;
  if (Session* carrier = session(); carrier && !read_done_) carrier->want(stream_);
  return true;
}

// A controller's `server` that points at another controller's `bind` is a mistake that shows here only.
void Relay::note_first_bytes(const iovec& part, std::size_t bytes) const {
  if (!is_controller() || bytes < kMagic.size() || std::memcmp(part.iov_base, kMagic.data(), kMagic.size()) != 0)
    return;
  log_line(LogLevel::Warning, service_.name,
           "this client speaks the protocol of links; is it a controller that was pointed at a controller?",
           {{"client", client_}, {"id", to_string(conversation_)}});
}

void Relay::read_ended() {
  read_done_ = true;
  if (first_fin_ == Side::None) first_fin_ = near_side();
  last_activity_ = worker_.now();
  if (Session* carrier = session()) carrier->finish(stream_);
  close_if_done();
  arm();
}

void Relay::on_stopped(StreamCode code) {
  if (stage_ == Stage::Closed) return;
  end_code_ = code;
  has_end_code_ = cut_ = true;
  read_done_ = true;
  connection_.stop_reading();
  close_if_done();
  arm();
}

// --- From the stream to the socket -------------------------------------------------------------------------------

void Relay::on_data(iovec* parts, int count, std::size_t size) {
  if (stage_ == Stage::Closed) return;
  if (write_done_ || broken_) return discard(size);
  bool direct =
      pending_.empty() && writable_ && (stage_ == Stage::Open || (stage_ == Stage::Dialing && connection_.is_open()));
  if (direct) return write_now(parts, count, size);
  for (int i = 0; i < count; i++)
    pending_.push({static_cast<const std::byte*>(parts[i].iov_base), parts[i].iov_len}, worker_.budget());
}

void Relay::write_now(iovec* parts, int count, std::size_t size) {
  IoResult result = connection_.write(parts, count);
  if (result.status == Io::Broken || result.status == Io::NotReading) {
    on_write_failed(result.status);
    return discard(size);
  }
  if (result.status == Io::Done && stage_ == Stage::Dialing) connected();
  after_write(result.bytes);
  if (result.bytes == size) return;
  if (stage_ == Stage::Open) writable_ = false;
  std::size_t skip = result.bytes;
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
    if (stage_ == Stage::Dialing) connected();
    pending_.pop(result.bytes);
    after_write(result.bytes);
  }
  finish_if_drained();
}

void Relay::after_write(std::size_t bytes) {
  if (bytes == 0) return;
  written_ += bytes;
  last_activity_ = worker_.now();
  discard(bytes);
}

// The bytes have gone where they will ever go: the peer may send as many more.
void Relay::discard(std::size_t bytes) {
  if (Session* carrier = session()) carrier->consumed(stream_, bytes, worker_.now());
}

void Relay::drop_pending() {
  std::size_t bytes = pending_.size();
  pending_.pop(bytes);
  discard(bytes);
}

void Relay::on_write_failed(Io status) {
  if (stage_ == Stage::Dialing) {
    dial_failed(connection_.take_error());
    return;
  }
  drop_pending();
  if (reset_pending_) return close_with(end_code_);
  Session* carrier = session();
  if (status == Io::NotReading && !read_done_) {
    // A Unix peer may read no more and still have something to say.
    write_done_ = cut_ = has_end_code_ = true;
    end_code_ = near_reset();
    if (carrier) carrier->stop(stream_, end_code_);
    return;
  }
  if (read_done_) return abort(near_reset());
  broken_ = true;  // what the socket still holds was sent before it broke, and is read first
  if (carrier) carrier->want(stream_);
}

void Relay::on_finished() {
  if (stage_ == Stage::Closed) return;
  fin_received_ = true;
  if (first_fin_ == Side::None) first_fin_ = far_side();
  last_activity_ = worker_.now();
  finish_if_drained();
  arm();
}

void Relay::finish_if_drained() {
  if (!pending_.empty() || stage_ != Stage::Open) return;
  if (reset_pending_) return reset_if_drained();
  if (!fin_received_ || write_done_) return;
  write_done_ = true;
  if (!read_done_ || cut_) connection_.finish();  // otherwise closing says it
  close_if_done();
}

void Relay::on_reset(StreamCode code) {
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
  if (Session* carrier = session()) carrier->reset(stream_, code);
  close_with(code);
}

void Relay::close_if_done() {
  if (stage_ != Stage::Open || !read_done_ || !write_done_) return;
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
  if (stage_ == Stage::Dialing) leave_dialing();
  log_conversation(end);
  stage_ = Stage::Closed;
  connection_.close();
  if (!is_controller())
    if (Session* carrier = session()) carrier->release();
  worker_.timers().clear(id_, armed_);
  worker_.retire(*this);
}

std::string Relay::fin_words() const {
  return first_fin_ == Side::Client ? "client-fin/server-fin" : "server-fin/client-fin";
}

void Relay::log_step(std::string_view what) const {
  if (!log_enabled(LogLevel::Debug)) return;
  log_line(LogLevel::Debug, service_.name, what,
           {{"client", client_}, {"link", peer_}, {"stream", stream_}, {"id", to_string(conversation_)}});
}

void Relay::log_conversation(std::string_view end) const {
  if (!log_enabled(LogLevel::Info)) return;
  Field open{"open", "-"};
  if (opened_ != Time{}) open.value = opened_ - started_;
  log_line(
      LogLevel::Info, service_.name, "",
      {{"client", client_},
       {"server", service_.servers.front().endpoint.is_builtin() ? service_.servers.front().endpoint.to_string() : service_.servers.front().endpoint.address.to_string()},
       {"id", to_string(conversation_)},
       {"mode", "one-to-one"},
       open,
       {"total", worker_.now() - started_},
       {"up", is_controller() ? read_ : written_},
       {"down", is_controller() ? written_ : read_},
       {"end", std::string(end)}});
}

// --- Time --------------------------------------------------------------------------------------------------------

Time Relay::next_deadline() const {
  switch (stage_) {
    case Stage::Closed: return Time::max();
    case Stage::Waiting:
    case Stage::Opening:
    case Stage::Queued: return started_ + service_.connect_timeout;
    case Stage::Dialing: {
      Time deadline = started_ + service_.connect_timeout;
      return connection_.is_open() ? deadline : std::min(deadline, worker_.now() + kDialAgain);
    }
    case Stage::Open: break;
  }
  if (reset_pending_) {
    Duration waited = worker_.now() - last_activity_;
    return pending_.empty() ? worker_.now() + std::max(kResetPoll, waited / 4) : last_activity_ + kResetPatience;
  }
  Time deadline = Time::max();
  if (service_.idle_timeout > Duration::zero()) deadline = last_activity_ + service_.idle_timeout;
  if ((read_done_ || fin_received_ || broken_) && service_.half_close_timeout > Duration::zero())
    deadline = std::min(deadline, last_activity_ + service_.half_close_timeout);
  return deadline;
}

void Relay::arm() { worker_.timers().set(id_, next_deadline(), armed_); }

void Relay::on_deadline(Time now) {
  armed_ = Time::max();
  if (stage_ == Stage::Open && reset_pending_) {
    if (now - last_activity_ >= kResetPatience) return close_with(end_code_);
    return reset_if_drained();
  }
  if (stage_ == Stage::Dialing && !connection_.is_open() && now < started_ + service_.connect_timeout) {
    dial();
    return arm();
  }
  if (now < next_deadline()) return arm();
  if (stage_ != Stage::Open)
    return abort(is_out_of_descriptors(dial_error_) ? StreamCode::NoDescriptors : StreamCode::ConnectTimeout);
  bool idle = service_.idle_timeout > Duration::zero() && now - last_activity_ >= service_.idle_timeout;
  abort(idle ? StreamCode::IdleTimeout : StreamCode::HalfCloseTimeout);
}

}  // namespace cloudbus
