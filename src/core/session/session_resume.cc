// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cloudbus/core/session/session.h"

// A session that outlives its link: doc/protocol.md, section 9.

namespace cloudbus {
namespace {

constexpr std::uint64_t kMostUnacknowledged = 128 * 1024;  // bytes; so few stay in the sender's cache
constexpr std::uint64_t kLeastWindow = 1024 * 1024;        // bytes that a session may keep when all sessions keep much
constexpr std::uint64_t kNearWindow = 2 * 1024 * 1024;  // and where the RTT is small: more would only leave the cache
constexpr std::uint64_t kFastest = 2 * 1024;            // bytes/us, of any path
constexpr Duration kAckDelay = std::chrono::seconds(1);

}  // namespace

// --- What is kept ------------------------------------------------------------------------------------------------

// Both HELLOs are known.
void Session::agree_on_resuming() {
  const std::optional<SessionKey>& key = role_ == Role::Segment ? own_.session : peer_.session;
  if (!own_.resume || !peer_.resume || !key) return;
  std::uint32_t wait = std::min(own_.resume->wait_ms, peer_.resume->wait_ms);
  if (wait == 0) return;
  key_ = key;
  resume_wait_ = std::chrono::milliseconds(wait);
  ack_every_ = std::min<std::uint64_t>(peer_.resume->window / 4, kMostUnacknowledged);
  output_.start_keeping();
}

// The peer has to acknowledge something before more is sent.
bool Session::is_full() const {
  return is_resumable() && output_.kept() - output_.rewound() + output_.size() >= most_kept();
}

// Always several times the bytes after which the peer acknowledges.
std::uint64_t Session::most_kept() const {
  if (budget_.keeps_much()) return std::min(resume_window_, kLeastWindow);
  if (round_trip_ == Duration::zero()) return resume_window_;
  std::uint64_t under_way = kFastest * static_cast<std::uint64_t>(round_trip_.count());
  return std::min(resume_window_, std::max(kNearWindow, under_way));
}

void Session::account() {
  if (std::uint64_t kept = output_.kept(); kept > held_)
    budget_.keep(kept - std::exchange(held_, kept));
  else if (kept < held_)
    budget_.unkeep(std::exchange(held_, kept) - kept);
}

// Called after all bytes of a read were taken.
void Session::acknowledge_some(Time now) {
  if (!is_resumable() || state_ != State::Established || position_received_ == ack_sent_) return;
  if (position_received_ - ack_sent_ >= ack_every_)
    acknowledge();
  else if (ack_due_ == Time::max())
    ack_due_ = now + kAckDelay;
}

void Session::acknowledge() {
  ack_due_ = Time::max();
  ack_sent_ = position_received_;
  store(append(FrameType::Ack, 0, 8), position_received_);
}

// --- Another link ------------------------------------------------------------------------------------------------

// Of a frame that was cut, the bytes that count in the position stay: the rest of the frame comes on the next link.
void Session::detach() {
  if (state_ != State::Established) return;
  state_ = State::Detached;
  is_silent_ = false;
  ping_pending_ = false;
  unanswered_since_ = Time::max();
  ack_due_ = check_at_ = Time::max();
  if (in_frame_ && !is_reliable(header_.type)) in_frame_ = false;
  partial_size_ = 0;
  output_.drop_passing();
  account();
}

void Session::ask_resume(Session& lost) {
  asked_ = lost.key_;
  asked_epoch_ = ++lost.epoch_;
  ResumeClaim claim{Role::Controller,    asked_->id,   own_.resume->nonce,
                    peer_.resume->nonce, asked_epoch_, lost.position_received_};
  auto payload = encode(ResumeFrame{claim.session, claim.epoch, claim.position, prove(claim, asked_->secret)});
  std::ranges::copy(payload, append(FrameType::Resume, 0, payload.size()));
  state_ = State::Resuming;
}

ResumeClaim Session::claim_of(const ResumeFrame& resume) const {
  bool is_controller = role_ == Role::Controller;
  const Nonce& own = own_.resume->nonce;
  const Nonce& peers = peer_.resume->nonce;
  return {is_controller ? Role::Segment : Role::Controller,
          resume.session,
          is_controller ? own : peers,
          is_controller ? peers : own,
          resume.epoch,
          resume.position};
}

std::optional<Event> Session::on_resume(Bytes payload) {
  if (!is_resumable()) return fail(LinkCode::ProtocolError, "RESUME, which was not agreed on");
  resume_ = decode_resume(payload);
  if (role_ == Role::Segment) {
    bool is_first = position_received_ == 0 && state_ == State::Established;
    if (!is_first) return fail(LinkCode::ProtocolError, "RESUME in the midst of a session");
    state_ = State::Resuming;
    return Event{.kind = EventKind::ResumeAsked, .resume = &resume_};
  }
  if (state_ != State::Resuming) return fail(LinkCode::ProtocolError, "RESUME that was not asked for");
  if (resume_.session != asked_->id || resume_.epoch != asked_epoch_ ||
      !is_proven(claim_of(resume_), asked_->secret, resume_.proof))
    return fail(LinkCode::ProtocolError, "RESUME without a proof");
  return Event{.kind = EventKind::Resumed, .resume = &resume_};
}

std::optional<std::array<std::byte, kHeaderSize + kResumeSize>> Session::accept_resume(const ResumeClaim& claim) {
  if (claim.epoch <= epoch_ || state_ != State::Detached) return std::nullopt;
  epoch_ = claim.epoch;
  ResumeClaim answer = claim;
  answer.role = Role::Segment;
  answer.position = position_received_;
  std::array<std::byte, kHeaderSize + kResumeSize> frame;
  std::byte* end = encode(frame.data(), {FrameType::Resume, 0, kResumeSize, 0});
  std::ranges::copy(encode(ResumeFrame{answer.session, answer.epoch, answer.position, prove(answer, key_->secret)}),
                    end);
  return frame;
}

void Session::attach(std::uint64_t position, Bytes opening, Time now) {
  if (state_ != State::Detached) return;
  state_ = State::Established;
  on_heard(now);
  pings_ = kPingLimit;  // each link has its own
  std::uint64_t written = position_acked_ + output_.kept();
  if (position < position_acked_ || position > written)
    return close(LinkCode::ProtocolError, fmt::format("the peer has {} bytes, those from {} to {} are here", position,
                                                      position_acked_, written));
  output_.rewind(position - position_acked_, opening);
  position_acked_ = position;
  account();
  // RESUME told the peer our position.
  ack_sent_ = position_received_;
  ping(now);
}

}  // namespace cloudbus
