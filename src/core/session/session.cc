// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/session/session.h"

#include <algorithm>
#include <cstring>

// The commands, and time. session_receive.cc has what arrives.

namespace cloudbus {
namespace {

constexpr Duration kLeastPatience = std::chrono::milliseconds(250);
constexpr Duration kMostPatience = std::chrono::milliseconds(700);
constexpr Duration kMeasureEvery = std::chrono::seconds(1);  // pings for the round trip, while data flows

}  // namespace

Session::Session(Role role, const Hello& hello, const SessionLimits& limits, SlabPool& pool, Budget& budget, Time now)
    : role_(role),
      limits_(limits),
      own_(hello),
      budget_(budget.limit() / 2, &budget),
      output_(pool),
      started_(now),
      last_received_(now) {
  own_.initial_window = limits.initial_window;
  own_.max_streams = max_streams_own_ = role == Role::Segment ? limits.max_streams : 0;
  resume_window_ =
      std::clamp<std::uint64_t>(budget.limit() / 16, 4 * std::uint64_t{kMinWindow}, limits.max_resume_window);
  if (own_.resume) own_.resume->window = static_cast<std::uint32_t>(resume_window_);
  if (role == Role::Controller) greet();
}

Session::~Session() {
  for (auto& [id, stream] : streams_) stream.window.close(budget_);
  budget_.unkeep(held_);
}

void Session::greet() {
  greeted_ = true;
  auto preface = encode(Preface{.role = role_});
  std::memcpy(output_.append(preface.size(), Output::Kind::Passing), preface.data(), preface.size());
  auto payload = encode(own_);
  std::memcpy(append(FrameType::Hello, 0, payload.size()), payload.data(), payload.size());
}

std::byte* Session::append(FrameType type, StreamId stream, std::size_t length, std::uint8_t flags) {
  auto kind = is_reliable(type) ? Output::Kind::Reliable : Output::Kind::Passing;
  if (trace_) trace_->on_frame(true, type, flags, length, stream);
  std::byte* place = output_.append(kHeaderSize + length, kind);
  if (kind == Output::Kind::Reliable) position_sent_ += kHeaderSize + length;
  return encode(place, {type, flags, static_cast<std::uint16_t>(length), stream});
}

// --- Streams -----------------------------------------------------------------------------------------------------

const Stream* Session::find(StreamId stream) const {
  auto found = streams_.find(stream);
  return found == streams_.end() ? nullptr : &found->second;
}

// Null for every stream once the session is over: nothing is written behind CLOSE.
Stream* Session::find_live(StreamId id) {
  if (state_ == State::Closed) return nullptr;
  auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : &found->second;
}

void Session::erase(StreamId id) {
  auto found = streams_.find(id);
  found->second.window.close(budget_);
  streams_.erase(found);
}

void Session::erase_if_over(StreamId id, Stream& stream) {
  if (stream.is_over()) erase(id);
}

bool Session::can_open() const {
  return state_ == State::Established && role_ == Role::Controller && !peer_going_away_ && drain_ == Drain::None &&
         streams_opened_ < max_streams_peer_;
}

StreamId Session::open(const OpenRequest& request, OwnerId owner) {
  StreamId id = ++last_stream_;
  streams_opened_++;
  idle_frames_.add(16);
  streams_.try_emplace(id, owner, request.priority, own_.initial_window, peer_.initial_window);
  auto payload = encode(request);
  std::memcpy(append(FrameType::Open, id, payload.size()), payload.data(), payload.size());
  return id;
}

void Session::adopt(StreamId stream, OwnerId owner) {
  if (Stream* found = find_live(stream)) found->owner = owner;
}

void Session::accept(StreamId stream) {
  Stream* found = find_live(stream);
  if (!found || found->accepted) return;
  found->accepted = true;
  append(FrameType::Accept, stream, 0);
}

void Session::schedule(StreamId id, Stream& stream) {
  if (stream.queued || !stream.wants || stream.credit() == 0) return;
  stream.queued = true;
  scheduler_.start(id, stream.share);
}

void Session::want(StreamId stream) {
  Stream* found = find_live(stream);
  if (!found || found->sending != Direction::Open) return;
  found->wants = true;
  schedule(stream, *found);
}

std::optional<Session::Quantum> Session::next_quantum() {
  if (state_ != State::Established || is_full()) return std::nullopt;
  while (auto quantum = scheduler_.next()) {
    Stream* stream = find_live(quantum->stream);
    if (!stream) continue;
    stream->queued = false;
    if (!stream->wants || stream->sending != Direction::Open || stream->credit() == 0) continue;
    return Quantum{quantum->stream, stream->owner,
                   static_cast<std::size_t>(std::min<std::uint64_t>(quantum->bytes, stream->credit()))};
  }
  return std::nullopt;
}

void Session::fill_done(StreamId stream, std::size_t bytes, bool more) {
  Stream* found = find_live(stream);
  if (!found) return;
  if (bytes > 0) {
    if (trace_) trace_->on_frame(true, FrameType::Data, 0, bytes, stream);
    position_sent_ += output_.commit(stream, bytes);
    found->sent += bytes;
    found->share.position += bytes;
  }
  found->wants = more;
  if (!more || found->queued || found->credit() == 0) return;
  found->queued = true;
  scheduler_.go_on(stream, found->share);
}

void Session::share(const Quantum& quantum, const Slice& bytes) {
  Stream* found = find_live(quantum.stream);
  if (!found) return;
  if (trace_) trace_->on_frame(true, FrameType::Data, 0, bytes.size, quantum.stream);
  position_sent_ += output_.share(quantum.stream, bytes);
  found->sent += bytes.size;
  found->share.position += bytes.size;
}

void Session::finish(StreamId stream) {
  Stream* found = find_live(stream);
  if (!found || found->sending != Direction::Open) return;
  found->sending = Direction::Finished;
  append(FrameType::Data, stream, 0, kFin);
  erase_if_over(stream, *found);
}

void Session::stop(StreamId stream, StreamCode code) {
  Stream* found = find_live(stream);
  if (!found || found->receiving != Direction::Open) return;
  found->receiving = Direction::Stopped;
  store(append(FrameType::Stop, stream, 2), static_cast<std::uint16_t>(code));
  erase_if_over(stream, *found);
}

void Session::reset(StreamId stream, StreamCode code, std::string_view reason) {
  Stream* found = find_live(stream);
  if (!found) return;
  std::size_t size = has_reasons() ? std::min(reason.size(), kMaxResetReason) : 0;
  std::byte* place = append(FrameType::Reset, stream, kReset + size);
  place = store(store(place, static_cast<std::uint16_t>(code)), found->sent);
  std::ranges::copy(as_bytes(reason.substr(0, size)), place);
  erase(stream);
}

void Session::consumed(StreamId stream, std::size_t bytes, Time now, bool is_pressed) {
  Stream* found = find_live(stream);
  if (!found) return;
  auto limit = found->window.consume(bytes, now, round_trip_, budget_, is_pressed);
  if (!limit || found->receiving != Direction::Open) return;
  store(append(FrameType::Credit, stream, 8), *limit);
  if (state_ == State::Established && !ping_pending_ && now - ping_sent_ > kMeasureEvery) ping(now);
}

void Session::release() {
  streams_released_++;
  grant_streams();
}

void Session::grant_streams() {
  std::uint64_t granted = streams_released_ + limits_.max_streams;
  if (granted < max_streams_own_ + std::max<std::uint64_t>(1, limits_.max_streams / 4)) return;
  if (state_ != State::Established && state_ != State::Detached) return;
  max_streams_own_ = granted;
  store(append(FrameType::MaxStreams, 0, 8), granted);
}

// --- The session -------------------------------------------------------------------------------------------------

void Session::drain(Time now) {
  if ((state_ != State::Established && state_ != State::Detached) || drain_ != Drain::None) return;
  drain_ = Drain::Asked;
  store(append(FrameType::GoAway, 0, 8), kNoMoreStreams);
  if (state_ == State::Established) ping(now);
}

void Session::close(LinkCode code, std::string reason) {
  if (state_ == State::Closed) return;
  // A peer that has not shown a preface learns nothing.
  bool silent = state_ == State::Preface && code != LinkCode::WrongRole && code != LinkCode::Version;
  closed_ = {{code, std::move(reason)}, false};
  state_ = State::Closed;
  if (silent) return;
  if (!greeted_) {
    auto preface = encode(Preface{.role = role_});
    std::memcpy(output_.append(preface.size(), Output::Kind::Passing), preface.data(), preface.size());
  }
  std::size_t size = std::min(closed_.error.reason.size(), kMaxCloseReason);
  std::byte* place = store(append(FrameType::Close, 0, 2 + size), static_cast<std::uint16_t>(code));
  std::memcpy(place, closed_.error.reason.data(), size);
}

void Session::ping(Time now) {
  store(append(FrameType::Ping, 0, 8), ++ping_value_);
  ping_sent_ = ping_moved_ = now;
  ping_end_ = output_.taken() + output_.size();
  taken_before_ = output_.taken();
  ping_pending_ = true;
}

std::vector<OwnerId> Session::owners() const {
  std::vector<OwnerId> owners;
  for_each_stream([&](StreamId, OwnerId owner) { owners.push_back(owner); });
  return owners;
}

void Session::check(Time now, Duration apart) {
  if (state_ != State::Established || ping_pending_) return;
  if (now - ping_sent_ >= apart) return ping(now);
  check_asked_ = now;
  check_at_ = ping_sent_ + apart;
}

void Session::ping_late(Time now) {
  if (now < check_at_) return;
  check_at_ = Time::max();
  if (!ping_pending_ && last_received_ <= check_asked_) ping(now);
}

Time Session::silent_since() const {
  bool is_silent = state_ == State::Established && ping_pending_ && last_received_ <= ping_sent_;
  return is_silent ? ping_moved_ : Time::max();
}

// On a link with a long queue an answer waits in it, so the last round trip counts, too; but it may have been that of a
// peer that was stopped.
Duration Session::patience() const {
  Duration last = round_trips_.empty() ? round_trip_ : round_trips_.back().took;
  return std::max({kLeastPatience, 4 * round_trip_, std::min(4 * last, kMostPatience)});
}

Time Session::ask_at() const {
  // The answer to an earlier ping may have been lost behind bytes that came.
  bool is_asked = silent_since() != Time::max();
  bool may_ask = state_ == State::Established && !is_asked && unanswered_since_ != Time::max();
  return may_ask ? unanswered_since_ + patience() : Time::max();
}

void Session::on_written(Time now) {
  account();
  if (unanswered_since_ == Time::max() && output_.taken() > taken_when_heard_) unanswered_since_ = now;
  if (!ping_pending_ || taken_before_ >= ping_end_ || output_.taken() == taken_before_) return;
  taken_before_ = output_.taken();
  ping_moved_ = now;
}

void Session::on_time(Time now) {
  if (state_ == State::Closed || is_silent_) return;
  if (now >= ack_due_) acknowledge();
  if (state_ == State::Established) ping_late(now);
  if (now >= ask_at()) return ping(now);
  if (now < ping_deadline()) return;
  if (state_ == State::Preface || state_ == State::Hello || state_ == State::Resuming)
    close(LinkCode::HandshakeTimeout,
          state_ == State::Resuming ? "no answer to RESUME in time" : "no valid HELLO in time");
  else if (silent_since() == Time::max())
    ping(now);
  else if (is_resumable())
    is_silent_ = true;
  else
    close(LinkCode::PingTimeout, "no answer to a ping");
}

Time Session::ping_deadline() const {
  switch (state_) {
    case State::Preface:
    case State::Hello:
    case State::Resuming: return started_ + limits_.handshake;
    case State::Established:
      // A ping that only measures the RTT does not shorten the time that a silent peer has.
      if (silent_since() != Time::max())
        return std::max(ping_moved_, last_received_ + limits_.ping_after) + limits_.ping_timeout;
      return std::min({last_received_ + limits_.ping_after, check_at_, ask_at()});
    case State::Detached:
    case State::Closed: break;
  }
  return Time::max();
}

Time Session::next_deadline() const { return is_silent_ ? Time::max() : std::min(ack_due_, ping_deadline()); }

}  // namespace cloudbus
