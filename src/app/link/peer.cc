// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/link/peer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "cloudbus/app/log/log.h"

namespace cloudbus {
namespace {

constexpr std::size_t kSmallRead = 8 * 1024;  // holds about a hundred streams that are opened and reset
constexpr Duration kUnresponsiveAfter = std::chrono::milliseconds(250);
constexpr Duration kLookAtSuspect = std::chrono::milliseconds(50);  // how often, at most
constexpr Duration kCongested = std::chrono::milliseconds(10);      // at least
constexpr int kManyOpens = 64;                                      // doc/protocol.md, section 7

}  // namespace

Peer::Peer(Links& links, PeerId id, int fd, bool connecting, std::string name, const Origin& origin)
    : links_(links),
      context_(links.context()),
      id_(id),
      name_(std::move(name)),
      origin_(origin),
      session_(context_.role_kind(), links.hello(origin), links.session_limits(), context_.slabs(), context_.budget(),
               context_.now()),
      link_(make_link(fd)),
      read_size_(context_.read_buffer().size()),
      connecting_(connecting) {
  if (connecting) link_->wait_connected();
  links_.touch(*this);
}

Peer::~Peer() { context_.timers().clear(*this, armed_); }

// --- For the log -------------------------------------------------------------------------------------------------

// A reload may have changed it.
void Peer::look_at_level() { session_.set_trace(log_enabled(LogLevel::Trace) ? this : nullptr); }

void Peer::on_frame(bool is_sent, FrameType type, std::uint8_t flags, std::size_t length, StreamId stream) {
  std::string words = fmt::format("{} {}", is_sent ? "sent" : "received", name_of(type));
  std::vector<Field> fields{{"link", id_}};
  if (stream != 0) fields.push_back({"stream", stream});
  fields.push_back({"len", std::uint64_t{length}});
  if (type == FrameType::Data && (flags & kFin) != 0) fields.push_back({"fin", std::string_view("yes")});
  if (type == FrameType::Ping && (flags & kReply) != 0) fields.push_back({"reply", std::string_view("yes")});
  log_line(LogLevel::Trace, "link", words, fields);
}

// --- The link ----------------------------------------------------------------------------------------------------

std::unique_ptr<Link> Peer::make_link(int fd) {
  set_keepalive(fd, context_.config().keepalive);
  return std::make_unique<Link>(context_.loop(), fd, static_cast<LinkOwner&>(*this), context_.shared().small_traffic);
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
  if (!gone_ && finish_connecting()) links_.touch(*this);
}

void Peer::on_link_readable() noexcept {
  if (gone_ || !finish_connecting()) return;
  look_at_level();
  links_.touch(*this);
  Bytes input = link_->read(context_.read_buffer().first(read_size_));
  was_heard_ |= !input.empty();
  bool full = input.size() == read_size_;
  opens_in_read_ = 0;
  receive(input);
  if (gone_ || !link_) return;
  resize_reads(full);
  if (link_->status() == Link::Status::Open || session_.is_closed()) return;
  lose(link_->status() == Link::Status::Ended ? "the peer closed the link" : std::strerror(link_->error()));
}

void Peer::receive(Bytes input) {
  while (auto event = session_.receive(input, context_.now())) {
    if (event->resume) return links_.owner().on_resume(*this, *event->resume, input);
    dispatch(*event);
  }
  links_.roster().flush_run();
}

// New streams cost work. One that opens very many at once has them taken in small portions, with turns for others
// between.
void Peer::resize_reads(bool full) {
  if (opens_in_read_ > kManyOpens)
    read_size_ = kSmallRead;
  else if (full)
    read_size_ = std::min(read_size_ * 2, context_.read_buffer().size());
}

void Peer::dispatch(const Event& event) {
  if (event.kind == EventKind::Data) return links_.roster().add_to_run(event.owner, event.data, event.ends_frame);
  Conversation* conversation = links_.roster().find(event.owner);
  if (conversation && event.kind == EventKind::Finished) conversation->expect_finish();
  links_.roster().flush_run();
  LegId leg = leg_of(event.owner);
  switch (event.kind) {
    case EventKind::Established: was_established_ = true; return links_.owner().on_established(*this);
    case EventKind::Opened: opens_in_read_++; return links_.owner().on_opened(*this, event);
    case EventKind::Accepted:
      if (conversation) conversation->on_accepted(leg);
      return;
    case EventKind::Data:
    case EventKind::ResumeAsked:
    case EventKind::Resumed: return;  // receive() takes these
    case EventKind::Finished:
      if (conversation) conversation->on_finished(leg);
      return;
    case EventKind::Stopped:
      if (conversation) conversation->on_stopped(leg, event.code);
      return;
    case EventKind::Reset:
      if (conversation && !event.reason.empty()) conversation->on_reset_reason(event.reason);
      if (conversation) conversation->on_reset(leg, event.code);
      return;
    case EventKind::MoreStreams: return links_.owner().on_room_for_streams(*this);
    case EventKind::GoingAway: return links_.owner().on_going_away(*this);
    case EventKind::Closed: return;  // flush() sees it
  }
}

bool Peer::flush() {
  if (gone_) return false;
  look_at_level();
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
  session_.on_written(context_.now());
  bool is_broken = link_->status() == Link::Status::Broken;
  if (session_.is_closed())
    end(closing_words());
  else if (is_broken)
    lose(std::strerror(link_->error()));
  arm();
  return !gone_ && link_ && !link_->is_blocked() && session_.has_quanta();
}

void Peer::fill(Session::Quantum quantum) {
  std::size_t backlog = session_.output().size(), most = link_->most_unwritten();
  quantum.bytes = std::min(quantum.bytes, std::max(most - backlog, most / 2));
  Conversation* conversation = links_.roster().find(quantum.owner);
  if (!conversation) return session_.fill_done(quantum.stream, 0, false);
  conversation->fill(session_, quantum, leg_of(quantum.owner));
  if (session_.output().size() > backlog && conversation->says_little())
    context_.shared().small_traffic.on_taken_in(context_.now());
}

// "flood: too many pings", "closed by the segment: no-error: drained"
std::string Peer::closing_words() const {
  const Closed& closed = session_.closed();
  std::string words = fmt::format("{}: {}", name_of(closed.error.code), closed.error.reason);
  if (!closed.by_peer) return words;
  bool is_controller = context_.role_kind() == Role::Controller;
  return fmt::format("closed by the {}: {}", name_of(is_controller ? Role::Segment : Role::Controller), words);
}

void Peer::end(std::string reason, StreamCode code) {
  if (gone_) return;
  gone_ = true;
  reason_ = std::move(reason);
  std::vector<OwnerId> owners = session_.owners();
  for (OwnerId owner : owners)
    if (Conversation* conversation = links_.roster().find(owner)) conversation->on_reset(leg_of(owner), code);
  lost_streams_ = owners.size();
  links_.totals().on_streams_lost(lost_streams_);
  links_.touch(*this);
}

std::string Peer::session_name() const {
  return session_.is_resumable() ? to_string(session_.key().id).substr(0, 8) : "-";
}

bool Peer::is_unresponsive() const { return !gone_ && context_.now() - session_.silent_since() >= kUnresponsiveAfter; }

Time Peer::suspect_at() const {
  bool may_be = !gone_ && link_ && session_.is_resumable() && session_.silent_since() != Time::max();
  return may_be ? session_.silent_since() + session_.patience() : Time::max();
}

bool Peer::is_suspect() const {
  return context_.now() >= suspect_at() && link_->unacknowledged_for() >= session_.patience();
}

// Time::max() while it is written.
Time Peer::congested_at() const {
  if (!link_ || !link_->is_blocked() || !session_.is_established()) return Time::max();
  return link_->blocked_since() + std::max(session_.round_trip(), kCongested);
}

bool Peer::is_congested() const { return context_.now() >= congested_at(); }

void Peer::on_deadline(Time now) {
  armed_ = Time::max();
  if (gone_) return;
  if (is_detached()) return expire(now);
  session_.on_time(now);
  if (session_.is_silent()) lose("no answer to a ping");
  links_.touch(*this);
  tell_role();
}

// Each once.
void Peer::tell_role() {
  if (!was_unresponsive_ && is_unresponsive()) {
    was_unresponsive_ = true;
    links_.owner().on_unresponsive(*this);
  }
  if (context_.now() >= look_at_suspect_) {
    look_at_suspect_ = Time::max();
    if (is_suspect()) links_.owner().on_suspect(*this);
  }
  if (tells_congestion && !was_congested_ && is_congested()) {
    was_congested_ = true;
    links_.owner().on_congested(*this);
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
  if (silent_since == Time::max())
    look_at_suspect_ = Time::max();
  else if (look_at_suspect_ == Time::max() && suspect_at() != Time::max())
    look_at_suspect_ = std::max(suspect_at(), context_.now() + kLookAtSuspect);
  deadline = std::min(deadline, look_at_suspect_);
  if (!link_ || !link_->is_blocked())
    was_congested_ = false;
  else if (tells_congestion && !was_congested_)
    deadline = std::min(deadline, congested_at());
  if (deadline < armed_) context_.timers().set(*this, deadline, armed_);
}

// --- Resuming ----------------------------------------------------------------------------------------------------

void Peer::lose(std::string reason) {
  if (gone_) return;
  if (was_established_) links_.totals().on_lost();
  bool waits = session_.is_resumable() && session_.is_established() && links_.owner().may_resume(*this);
  if (!waits) return end(std::move(reason));
  lost_with_streams_ = session_.stream_count() > 0;
  session_.detach();
  link_.reset();  // whatever comes from it is read by nobody
  lost_at_ = context_.now();
  links_.owner().on_link_lost(*this, reason);
  if (!gone_ && is_detached()) expire(context_.now());
}

// Streams whose services do not wait any longer are reset.
void Peer::expire(Time now) {
  Duration waited = now - lost_at_;
  if (waited >= session_.resume_wait()) return give_up(StreamCode::ResumeTimeout, "no other link in time");
  std::vector<std::pair<StreamId, OwnerId>> expired;
  Duration next = session_.resume_wait();
  session_.for_each_stream([&](StreamId stream, OwnerId owner) {
    Conversation* conversation = links_.roster().find(owner);
    if (!conversation) return;
    if (conversation->resume_wait() <= waited)
      expired.emplace_back(stream, owner);
    else
      next = std::min(next, conversation->resume_wait());
  });
  expires_at_ = lost_at_ + next;
  for (auto [stream, owner] : expired) {
    Conversation* conversation = links_.roster().find(owner);
    if (!conversation) continue;
    session_.reset(stream, StreamCode::ResumeTimeout);
    links_.totals().on_streams_lost(1);
    bool never_waits = conversation->resume_wait() == Duration::zero();
    conversation->on_reset(leg_of(owner), never_waits ? StreamCode::LinkLost : StreamCode::ResumeTimeout);
  }
  arm();
}

void Peer::give_up(StreamCode code, std::string reason) {
  given_up_ = true;
  if (lost_with_streams_) links_.totals().on_given_up();
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
  links_.touch(*this);
  return link;
}

void Peer::take_over(const Handover& link, std::uint64_t position) {
  link_ = make_link(link.fd);
  read_size_ = context_.read_buffer().size();
  session_.attach(position, link.opening, context_.now());
  replayed_ = session_.output().rewound();
  links_.totals().on_resumed(session_.stream_count(), replayed_);
  links_.touch(*this);
  receive(link.rest);
}

}  // namespace cloudbus
