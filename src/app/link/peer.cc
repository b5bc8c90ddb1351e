// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/link/peer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "cloudbus/app/worker/worker.h"

namespace cloudbus {
namespace {

constexpr std::size_t kSmallRead = 8 * 1024;  // holds about a hundred streams that are opened and reset
constexpr Duration kUnresponsiveAfter = std::chrono::milliseconds(250);
constexpr Duration kCongested = std::chrono::milliseconds(10);  // at least
constexpr int kManyOpens = 64;                                  // doc/protocol.md, section 7

}  // namespace

Peer::Peer(Worker& worker, PeerId id, Role role, int fd, bool connecting, std::string name,
           const ServiceConfig* service)
    : worker_(worker),
      id_(id),
      name_(std::move(name)),
      service_(service),
      session_(role, worker.hello(service), worker.session_limits(), worker.slabs(), worker.budget(), worker.now()),
      link_(make_link(fd)),
      read_size_(worker.read_buffer().size()),
      connecting_(connecting) {
  if (connecting) link_->wait_connected();
  worker.touch(*this);
}

Peer::~Peer() { worker_.timers().clear(id_, armed_); }

std::unique_ptr<Link> Peer::make_link(int fd) {
  return std::make_unique<Link>(worker_.loop(), fd, static_cast<LinkOwner&>(*this), worker_.shared().small_traffic);
}

// False when the link could not be made.
bool Peer::finish_connecting() {
  if (!connecting_) return true;
  connecting_ = false;
  int error = link_->take_error();
  if (error == 0) return true;
  end(std::strerror(error));
  return false;
}

void Peer::on_link_writable() noexcept {
  if (!gone_ && finish_connecting()) worker_.touch(*this);
}

void Peer::on_link_readable() noexcept {
  if (gone_ || !finish_connecting()) return;
  worker_.touch(*this);
  Bytes input = link_->read(worker_.read_buffer().first(read_size_));
  bool full = input.size() == read_size_;
  opens_in_read_ = 0;
  receive(input);
  if (gone_ || !link_) return;
  resize_reads(full);
  if (link_->status() == Link::Status::Open || session_.is_closed()) return;
  lose(link_->status() == Link::Status::Ended ? "the peer closed the link" : std::strerror(link_->error()));
}

void Peer::receive(Bytes input) {
  while (auto event = session_.receive(input, worker_.now())) {
    if (event->resume) return worker_.role().on_resume(*this, *event->resume, input);
    dispatch(*event);
  }
  worker_.flush_run();
}

// New streams cost work. One that opens very many at once has them taken in small portions, with turns for others
// between.
void Peer::resize_reads(bool full) {
  if (opens_in_read_ > kManyOpens)
    read_size_ = kSmallRead;
  else if (full)
    read_size_ = std::min(read_size_ * 2, worker_.read_buffer().size());
}

void Peer::dispatch(const Event& event) {
  if (event.kind == EventKind::Data) return worker_.add_to_run(event.owner, event.data, event.ends_frame);
  Relay* relay = worker_.find_relay(event.owner);
  if (relay && event.kind == EventKind::Finished) relay->expect_finish();
  worker_.flush_run();
  LegId leg = leg_of(event.owner);
  switch (event.kind) {
    case EventKind::Established: was_established_ = true; return worker_.role().on_established(*this);
    case EventKind::Opened: opens_in_read_++; return worker_.role().on_opened(*this, event);
    case EventKind::Accepted:
      if (relay) relay->on_accepted(leg);
      return;
    case EventKind::Data:
    case EventKind::ResumeAsked:
    case EventKind::Resumed: return;  // receive() takes these
    case EventKind::Finished:
      if (relay) relay->on_finished(leg);
      return;
    case EventKind::Stopped:
      if (relay) relay->on_stopped(leg, event.code);
      return;
    case EventKind::Reset:
      if (relay) relay->on_reset(leg, event.code);
      return;
    case EventKind::MoreStreams: return worker_.role().on_room_for_streams(*this);
    case EventKind::GoingAway: return worker_.role().on_going_away(*this);
    case EventKind::Closed: return;  // flush() sees it
  }
}

bool Peer::flush() {
  if (gone_) return false;
  if (connecting_ || !link_) {
    if (session_.is_closed()) end(connecting_ ? "no connection in time" : closing_words());
    arm();
    return false;
  }
  while (!session_.is_closed() && !link_->is_blocked() && session_.output().size() < link_->most_unwritten()) {
    auto quantum = session_.next_quantum();
    if (!quantum) break;
    fill(*quantum);
  }
  link_->write(session_.output(), session_.round_trip());
  session_.on_written(worker_.now());
  bool is_broken = link_->status() == Link::Status::Broken;
  if (session_.is_closed())
    end(closing_words());
  else if (is_broken)
    lose(std::strerror(link_->error()));
  arm();
  return !gone_ && link_ && !link_->is_blocked() && session_.has_quanta();
}

void Peer::fill(Session::Quantum quantum) {
  std::size_t standing = session_.output().size(), most = link_->most_unwritten();
  quantum.bytes = std::min(quantum.bytes, std::max(most - standing, most / 2));
  Relay* relay = worker_.find_relay(quantum.owner);
  if (!relay) return session_.fill_done(quantum.stream, 0, false);
  relay->fill(session_, quantum, leg_of(quantum.owner));
  if (session_.output().size() > standing && relay->says_little())
    worker_.shared().small_traffic.on_taken_in(worker_.now());
}

// "flood: too many pings", "closed by the segment: no-error: drained"
std::string Peer::closing_words() const {
  const Closed& closed = session_.closed();
  std::string words = fmt::format("{}: {}", name_of(closed.error.code), closed.error.reason);
  if (!closed.by_peer) return words;
  bool is_controller = worker_.config().role == Role::Controller;
  return fmt::format("closed by the {}: {}", name_of(is_controller ? Role::Segment : Role::Controller), words);
}

void Peer::end(std::string reason, StreamCode code) {
  if (gone_) return;
  gone_ = true;
  reason_ = std::move(reason);
  std::vector<OwnerId> owners = session_.owners();
  for (OwnerId owner : owners)
    if (Relay* relay = worker_.find_relay(owner)) relay->on_reset(leg_of(owner), code);
  lost_streams_ = owners.size();
  worker_.link_totals().on_streams_lost(lost_streams_, worker_.now());
  worker_.touch(*this);
}

bool Peer::is_unresponsive() const { return !gone_ && worker_.now() - session_.silent_since() >= kUnresponsiveAfter; }

// Time::max() while it is written.
Time Peer::congested_at() const {
  if (!link_ || !link_->is_blocked() || !session_.is_established()) return Time::max();
  return link_->blocked_since() + std::max(session_.round_trip(), kCongested);
}

bool Peer::is_congested() const { return worker_.now() >= congested_at(); }

void Peer::on_deadline(Time now) {
  armed_ = Time::max();
  if (gone_) return;
  if (is_detached()) return expire(now);
  session_.on_time(now);
  if (session_.is_silent()) lose("no answer to a ping");
  worker_.touch(*this);
  tell_role();
}

// Each once.
void Peer::tell_role() {
  if (!was_unresponsive_ && is_unresponsive()) {
    was_unresponsive_ = true;
    worker_.role().on_unresponsive(*this);
  }
  if (tells_congestion && !was_congested_ && is_congested()) {
    was_congested_ = true;
    worker_.role().on_congested(*this);
  }
}

// A deadline that moved away is looked at again when the old one has come.
void Peer::arm() {
  if (gone_) return;
  Time deadline = is_detached() ? expires_at_ : session_.next_deadline();
  Time silent_since = session_.silent_since();
  if (silent_since == Time::max())
    was_unresponsive_ = false;
  else if (!was_unresponsive_)
    deadline = std::min(deadline, silent_since + kUnresponsiveAfter);
  if (!link_ || !link_->is_blocked())
    was_congested_ = false;
  else if (tells_congestion && !was_congested_)
    deadline = std::min(deadline, congested_at());
  if (deadline < armed_) worker_.timers().set(id_, deadline, armed_);
}

// --- Resuming ----------------------------------------------------------------------------------------------------

void Peer::lose(std::string reason) {
  if (gone_) return;
  if (was_established_) worker_.link_totals().on_lost(worker_.now());
  bool waits = session_.is_resumable() && session_.is_established() && worker_.role().may_resume(*this);
  if (!waits) return end(std::move(reason));
  session_.detach();
  link_.reset();  // whatever comes from it is read by nobody
  lost_at_ = worker_.now();
  worker_.role().on_link_lost(*this, reason);
  if (!gone_ && is_detached()) expire(worker_.now());
}

// Streams whose services do not wait any longer are reset.
void Peer::expire(Time now) {
  Duration waited = now - lost_at_;
  if (waited >= session_.resume_wait()) return give_up(StreamCode::ResumeTimeout, "no other link in time");
  std::vector<std::pair<StreamId, OwnerId>> expired;
  Duration next = session_.resume_wait();
  session_.for_each_stream([&](StreamId stream, OwnerId owner) {
    Relay* relay = worker_.find_relay(owner);
    if (!relay) return;
    if (relay->resume_wait() <= waited)
      expired.emplace_back(stream, owner);
    else
      next = std::min(next, relay->resume_wait());
  });
  expires_at_ = lost_at_ + next;
  for (auto [stream, owner] : expired) {
    Relay* relay = worker_.find_relay(owner);
    if (!relay) continue;
    session_.reset(stream, StreamCode::ResumeTimeout);
    worker_.link_totals().on_streams_lost(1, worker_.now());
    bool never_waits = relay->resume_wait() == Duration::zero();
    relay->on_reset(leg_of(owner), never_waits ? StreamCode::LinkLost : StreamCode::ResumeTimeout);
  }
  arm();
}

void Peer::give_up(StreamCode code, std::string reason) {
  given_up_ = true;
  worker_.link_totals().on_given_up(worker_.now());
  end(std::move(reason), code);
}

Peer::Handover Peer::hand_over(Bytes rest) {
  Handover link{link_->release(), {}, {rest.begin(), rest.end()}};
  Output& output = session_.output();
  while (!output.empty()) {
    iovec part;
    output.gather(&part, 1);
    auto* begin = static_cast<const std::byte*>(part.iov_base);
    link.opening.insert(link.opening.end(), begin, begin + part.iov_len);
    output.consume(part.iov_len);
  }
  gone_ = handed_over_ = true;
  worker_.touch(*this);
  return link;
}

void Peer::take_over(const Handover& link, std::uint64_t position) {
  link_ = make_link(link.fd);
  read_size_ = worker_.read_buffer().size();
  session_.attach(position, link.opening, worker_.now());
  replayed_ = session_.output().rewound();
  worker_.link_totals().on_resumed(session_.stream_count(), replayed_, worker_.now());
  worker_.touch(*this);
  receive(link.rest);
}

}  // namespace cloudbus
