// SPDX-License-Identifier: Apache-2.0
// long: the legs of one client, whose rules share one state
#include "cloudbus/core/fanout/fanout.h"

#include <algorithm>
#include <utility>

namespace cloudbus {
namespace {

constexpr std::uint64_t kLagWhenPressed = 1024 * 1024;  // bytes, while memory is short
constexpr std::uint64_t kNear = 256 * 1024;             // bytes that a leg may be behind before it is waited for
constexpr Duration kPatience = std::chrono::milliseconds(250);

}  // namespace

std::string_view name_of(Mode mode) {
  switch (mode) {
    case Mode::OneToOne: return "one-to-one";
    case Mode::HalfDuplex: return "half-duplex";
    case Mode::FullDuplex: return "full-duplex";
    case Mode::Publish: return "publish";
    case Mode::Balance: return "balance";
  }
  return "unknown";
}

Fanout::Fanout(Mode mode, const FanoutLimits& limits, std::vector<ServerIndex> order, SlabPool& pool, Budget& budget)
    : mode_(mode), limits_(limits), budget_(budget), order_(std::move(order)), backlog_(pool, budget) {
  std::size_t wanted = mode == Mode::Balance ? 1 : limits.legs == 0 ? order_.size() : limits.legs;
  while (legs_.size() < wanted && can_begin()) begin();
}

std::optional<Fanout::Command> Fanout::next_command() {
  if (commands_.empty()) return std::nullopt;
  Command first = commands_.front();
  commands_.pop_front();
  return first;
}

void Fanout::command(Command::Kind kind, LegId leg, StreamCode code) { commands_.push_back({kind, leg, code}); }

std::size_t Fanout::count_living() const {
  return static_cast<std::size_t>(std::ranges::count_if(legs_, &Leg::is_living));
}

// --- Legs begin and end ------------------------------------------------------------------------------------------

void Fanout::begin() {
  legs_.emplace_back(order_[next_++]).answers = !stop_;
  command(Command::Kind::Open, leg_count() - 1);
}

void Fanout::on_opened(LegId id) {
  Leg& leg = legs_[id];
  if (leg.state != LegState::Waiting) return;
  leg.state = LegState::Opening;
  if (!sends()) return;
  command(Command::Kind::Want, id);
  finish_if_sent(id);
}

void Fanout::on_accepted(LegId id) {
  Leg& leg = legs_[id];
  if (leg.state != LegState::Opening) return;
  leg.state = LegState::Open;
  auto counts = [](const Leg& each) { return each.state == LegState::Open || each.state == LegState::Ended; };
  if (!open_ && static_cast<std::size_t>(std::ranges::count_if(legs_, counts)) >= limits_.quorum) open();
  if (stop_) command(Command::Kind::Stop, id, *stop_);
  end_if_over(id);
  trim();
}

void Fanout::open() {
  open_ = true;
  auto first = legs_.end();
  for (auto leg = legs_.begin(); leg != legs_.end(); ++leg)
    if (!leg->held.empty() && (first == legs_.end() || leg->held_since < first->held_since)) first = leg;
  if (mode_ == Mode::HalfDuplex && first != legs_.end()) latch(static_cast<LegId>(first - legs_.begin()));
  if (limits_.quorum <= 1) return;  // the legs may send since they were opened
  for (LegId id = 0; id < leg_count(); id++)
    if (legs_[id].has_stream()) command(Command::Kind::Want, id);
}

// The leg is gone: from here on it sends and delivers nothing.
void Fanout::lose(LegId id, LegState state, StreamCode code) {
  Leg& leg = legs_[id];
  if (mode_ == Mode::FullDuplex && leg.answered && leg.answers) cut_ = true;
  leg.state = state;
  leg.code = code;
  if (code != StreamCode::LostRace) code_ = code;
  leg.takes = leg.answers = false;
  held_ -= leg.held.size();
  leg.held.pop(leg.held.size());
  leg.held_part = 0;
}

void Fanout::drop(LegId id, StreamCode code) {
  lose(id, LegState::Dropped, code);
  command(Command::Kind::Reset, id, code);
}

void Fanout::drop_all(StreamCode code) {
  for (LegId id = 0; id < leg_count(); id++)
    if (legs_[id].is_living()) drop(id, code);
}

// A RESET before ACCEPT promises that nothing was delivered; a lost link promises nothing. A loop is one wherever it is
// tried.
bool Fanout::is_undelivered(const Leg& leg, StreamCode code) const {
  if (code == StreamCode::Loop) return false;
  return leg.is_living() && leg.state != LegState::Open && (!is_loss(code) || leg.sent == 0);
}

bool Fanout::is_last(LegId id) const {
  if (!legs_[id].is_living() || winner_ || can_begin()) return false;
  auto counts = [](const Leg& leg) { return leg.is_living() || leg.state == LegState::Ended; };
  auto left = static_cast<std::size_t>(std::ranges::count_if(legs_, counts));
  return left <= std::max<std::size_t>(1, limits_.quorum);
}

bool Fanout::begin_again(LegId id, StreamCode code) {
  Leg& leg = legs_[id];
  if (!is_undelivered(leg, code) || backlog_.begin() > 0) return false;
  leg.state = LegState::Waiting;
  leg.sent = 0;
  leg.takes = true;
  return true;
}

void Fanout::on_failed(LegId id, StreamCode code) {
  Leg& leg = legs_[id];
  if (!leg.is_living()) return;
  bool is_elsewhere = is_undelivered(leg, code);
  lose(id, LegState::Failed, code);
  if (winner_) return trim();
  if (is_elsewhere && can_begin()) begin();
  look_at_quorum();
  trim();
}

void Fanout::look_at_quorum() {
  if (broken_ || winner_) return;
  auto counts = [](const Leg& leg) { return leg.is_living() || leg.state == LegState::Ended; };
  if (static_cast<std::size_t>(std::ranges::count_if(legs_, counts)) >= limits_.quorum) return;
  broken_ = true;
  if (limits_.quorum > 1) code_ = StreamCode::NoQuorum;
  drop_all(code_);
}

void Fanout::on_connect_timeout() {
  if (open_) {
    for (LegId id = 0; id < leg_count(); id++)
      if (legs_[id].is_living() && legs_[id].state != LegState::Open) drop(id, StreamCode::ConnectTimeout);
    look_at_quorum();
    return trim();
  }
  broken_ = true;
  drop_all(limits_.quorum > 1 ? StreamCode::NoQuorum : StreamCode::ConnectTimeout);
}

void Fanout::end_if_over(LegId id) {
  Leg& leg = legs_[id];
  if (leg.state == LegState::Open && !leg.takes && !leg.answers && leg.held.empty()) leg.state = LegState::Ended;
}

// --- Answers -----------------------------------------------------------------------------------------------------

void Fanout::latch(LegId id) {
  winner_ = id;
  for (LegId other = 0; other < leg_count(); other++)
    if (other != id && legs_[other].is_living()) drop(other, StreamCode::LostRace);
  trim();
}

// From here on no other leg can answer.
bool Fanout::is_alone(LegId id) const {
  for (LegId other = 0; other < leg_count(); other++)
    if (other != id && legs_[other].is_living() && (legs_[other].answers || !legs_[other].held.empty())) return false;
  return true;
}

Fanout::Verdict Fanout::on_data(LegId id, std::size_t size, std::size_t part) {
  Leg& leg = legs_[id];
  if (!leg.is_living() || mode_ == Mode::Publish) return {0, 0};
  if (!open_) return {0, size};
  if (mode_ == Mode::HalfDuplex && !winner_) latch(id);
  if (mode_ != Mode::FullDuplex || is_alone(id)) part = 0;
  if (part < size) leg.answered = true;
  return {size - part, part};
}

void Fanout::hold(LegId id, Bytes bytes, bool is_part) {
  Leg& leg = legs_[id];
  if (leg.held.empty()) leg.held_since = ++holders_;
  leg.held.push(bytes, budget_);
  held_ += bytes.size();
  leg.held_part = is_part ? leg.held_part + bytes.size() : 0;
}

std::optional<Fanout::Release> Fanout::release() const {
  if (held_ == 0 || !open_) return std::nullopt;
  std::optional<Release> first;
  for (LegId id = 0; id < leg_count(); id++) {
    const Leg& leg = legs_[id];
    if (leg.held.empty() || (first && legs_[first->leg].held_since < leg.held_since)) continue;
    bool is_cut =
        leg.answers && !is_alone(id);  // the rest of the frame is still to come, and other legs may come first
    std::size_t bytes = leg.held.size() - (is_cut ? leg.held_part : 0);
    if (bytes > 0) first = Release{id, bytes};
  }
  return first;
}

void Fanout::take_held(LegId id, std::size_t bytes) {
  Leg& leg = legs_[id];
  leg.held.pop(bytes);
  held_ -= bytes;
  leg.held_part = std::min(leg.held_part, leg.held.size());
  leg.answered = true;
  end_if_over(id);
}

// A leg that is not accepted yet is told later: its stream must not be over before the client's server is known.
void Fanout::stop_answers(StreamCode code) {
  stop_ = code;
  for (LegId id = 0; id < leg_count(); id++) {
    Leg& leg = legs_[id];
    if (std::exchange(leg.answers, false) && leg.state == LegState::Open) command(Command::Kind::Stop, id, code);
    end_if_over(id);
  }
}

void Fanout::on_finished(LegId id) {
  Leg& leg = legs_[id];
  leg.answers = false;
  end_if_over(id);
}

// --- The client's bytes ------------------------------------------------------------------------------------------

bool Fanout::is_direct(LegId id) const {
  const Leg& leg = legs_[id];
  return leg.state == LegState::Open && leg.takes && open_ && backlog_.empty() && count_living() == 1;
}

std::uint64_t Fanout::unsent(LegId id) const {
  const Leg& leg = legs_[id];
  return leg.takes && sends() ? backlog_.end() - leg.sent : 0;
}

// So little that the other legs have time to follow.
std::size_t Fanout::may_read(LegId id) const {
  const Leg& leg = legs_[id];
  bool may = leg.takes && sends() && leg.sent == backlog_.end() && !finished_ && wait_until_ == Time::max();
  return may ? static_cast<std::size_t>(most_lag() / 4) : 0;
}

void Fanout::commit(LegId id, std::size_t bytes) {
  bool is_new_run = backlog_.empty();  // a pause of the client does not make the front slow
  backlog_.commit(bytes);
  if (bytes == 0) return;
  if (is_new_run) start_run(Time{});
  for (LegId other = 0; other < leg_count(); other++)
    if (other != id && legs_[other].takes && legs_[other].has_stream()) command(Command::Kind::Want, other);
}

void Fanout::on_sent(LegId id, std::size_t bytes, Time now) {
  now_ = now;
  if (run_since_ == Time{}) run_since_ = now;
  legs_[id].sent += bytes;
  finish_if_sent(id);
  drop_laggards();
  trim();
}

void Fanout::finish_if_sent(LegId id) {
  Leg& leg = legs_[id];
  if (!finished_ || !leg.takes || !leg.has_stream() || leg.sent < backlog_.end()) return;
  leg.takes = false;
  leg.finished = true;
  command(Command::Kind::Finish, id);
  end_if_over(id);
}

void Fanout::finish() {
  finished_ = true;
  wait_until_ = Time::max();
  for (LegId id = 0; id < leg_count(); id++) finish_if_sent(id);
}

void Fanout::abandon(StreamCode code) {
  broken_ = true;
  drop_all(code);
  trim();
}

void Fanout::on_stopped(LegId id, StreamCode code) {
  Leg& leg = legs_[id];
  leg.takes = false;
  code_ = code;
  end_if_over(id);
  trim();
}

// Forgets what every leg has sent. A leg that is still being opened may have to begin again, or be replaced, from the
// first byte on.
void Fanout::trim() {
  wait_for_laggards();
  if (is_opening() && backlog_.begin() == 0 && kept() <= limits_.lag) return;
  std::uint64_t floor = backlog_.end();
  for (const Leg& leg : legs_)
    if (leg.takes) floor = std::min(floor, leg.sent);
  backlog_.trim(floor);
}

// --- Legs that lag -----------------------------------------------------------------------------------------------
//
// A leg that is behind by more than the limit is dropped. Long before that the front stops for a moment: a leg that
// catches up, or that is at least half as fast, is waited for. Without this, all but one of several equally fast legs
// would be dropped, since the leg whose quantum comes first always has the next bytes first.

std::uint64_t Fanout::most_lag() const {
  return budget_.pressed() ? std::min(limits_.lag, kLagWhenPressed) : limits_.lag;
}

std::uint64_t Fanout::front() const {
  std::uint64_t front = 0;
  for (const Leg& leg : legs_)
    if (leg.is_living() && (leg.takes || leg.finished)) front = std::max(front, leg.sent);
  return front;
}

// The front is never behind itself: the last leg is not dropped.
void Fanout::drop_laggards() {
  std::uint64_t most = most_lag();
  if (kept() <= most) return;
  std::uint64_t ahead = front();
  for (LegId id = 0; id < leg_count(); id++)
    if (legs_[id].takes && ahead > legs_[id].sent + most) drop(id, StreamCode::Lagging);
  look_at_quorum();
}

void Fanout::wait_for_laggards() {
  if (finished_) return;
  bool waits = wait_until_ != Time::max();
  std::uint64_t far = std::min(most_lag() / 2, kNear);
  if (!waits && kept() <= far && std::ranges::none_of(legs_, &Leg::is_slow)) return;
  std::uint64_t ahead = front(), near = far / 2;
  bool has_laggard = false;
  for (Leg& leg : legs_) {
    if (!leg.takes) continue;
    std::uint64_t behind = ahead - leg.sent;
    if (behind <= near) leg.is_slow = false;
    if (!leg.is_slow && behind > (waits ? near : far)) has_laggard = true;
  }
  if (waits && !has_laggard) return go_on();
  if (waits || !has_laggard) return;
  auto took = static_cast<double>(std::max(now_ - run_since_, Duration(1)).count());
  if (ahead > run_front_) run_speed_ = static_cast<double>(ahead - run_front_) / took;
  for (Leg& leg : legs_) leg.sent_before = leg.sent;
  wait_since_ = now_;
  wait_until_ = now_ + kPatience;
}

void Fanout::go_on() {
  wait_until_ = Time::max();
  start_run(now_);
  for (LegId id = 0; id < leg_count(); id++)
    if (may_read(id) > 0 && legs_[id].has_stream()) command(Command::Kind::Want, id);
}

void Fanout::start_run(Time since) {
  run_since_ = since;
  run_front_ = front();
}

void Fanout::on_time(Time now) {
  now_ = now;
  if (now < wait_until_) return;
  auto waited = static_cast<double>((now - wait_since_).count());
  for (Leg& leg : legs_) {
    if (static_cast<double>(leg.sent - leg.sent_before) <= run_speed_ / 2 * waited) leg.is_slow = true;
    leg.sent_before = leg.sent;
  }
  wait_since_ = now;
  wait_until_ = now + kPatience;
  wait_for_laggards();
}

// --- What it means for the client --------------------------------------------------------------------------------

Fanout::Answer Fanout::answer() const {
  if (broken_) return Answer::Broken;
  if (winner_ && legs_[*winner_].state == LegState::Failed) return Answer::Broken;
  for (const Leg& leg : legs_)
    if (leg.is_living() && (leg.answers || !leg.held.empty())) return Answer::Coming;
  return cut_ ? Answer::Broken : Answer::Finished;
}

bool Fanout::is_opening() const {
  return std::ranges::any_of(legs_, [](const Leg& leg) { return leg.is_living() && leg.state != LegState::Open; });
}

bool Fanout::is_stopped() const { return !finished_ && !broken_ && std::ranges::none_of(legs_, &Leg::takes); }

}  // namespace cloudbus
