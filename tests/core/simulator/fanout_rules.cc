// SPDX-License-Identifier: Apache-2.0
#include "core/simulator/fanout_rules.h"

#include <algorithm>

#include "core/require.h"

namespace cloudbus {
namespace {

constexpr std::uint64_t kLagWhenShort = 1024 * 1024;
constexpr std::uint64_t kNear = 256 * 1024;
constexpr Duration kPatience = std::chrono::milliseconds(250);

std::size_t legs_of(Mode mode, const FanoutLimits& limits, std::size_t servers) {
  if (mode == Mode::Balance) return 1;
  return limits.legs == 0 ? servers : std::min<std::size_t>(limits.legs, servers);
}

}  // namespace

FanoutRules::FanoutRules(Mode mode, const FanoutLimits& limits, std::size_t servers)
    : mode_(mode), limits_(limits), servers_(servers), most_legs_(legs_of(mode, limits, servers)) {}

// --- The legs ----------------------------------------------------------------------------------------------------

void FanoutRules::on_begun(LegId id, ServerIndex server) {
  require(id == legs_.size(), "leg {} begins after {} others", id, legs_.size());
  require(id < servers_, "leg {} of {} servers", id, servers_);
  require(!winner, "leg {} begins after the latch", id);
  if (id >= most_legs_) {
    require(replaceable_ > 0, "leg {} begins, but none of the {} had to be replaced", id, most_legs_);
    replaceable_--;
    was_replaced = true;
  }
  legs_.push_back({.server = server});
}

void FanoutRules::on_stream(LegId id) {
  Known& leg = legs_.at(id);
  require(!leg.is_gone() && !leg.has_stream, "a stream for leg {}, which does not wait for one", id);
  leg.has_stream = true;
}

void FanoutRules::on_accepted(LegId id) {
  Known& leg = legs_.at(id);
  require(leg.has_stream && !leg.is_gone() && !leg.accepted, "ACCEPT of leg {} in the wrong place", id);
  leg.accepted = true;
  auto counts = [](const Known& known) { return known.accepted && !known.is_gone(); };
  open_ = open_ || std::ranges::count_if(legs_, counts) >= static_cast<std::ptrdiff_t>(limits_.quorum);
}

void FanoutRules::on_arrived(LegId id, std::size_t bytes) {
  Known& leg = legs_.at(id);
  require(leg.accepted && !leg.is_gone() && !leg.fin, "bytes of leg {} in the wrong place", id);
  if (leg.arrived == 0) leg.first_arrival = ++arrivals_;
  leg.arrived += bytes;
}

void FanoutRules::on_fin(LegId id) {
  Known& leg = legs_.at(id);
  require(leg.accepted && !leg.is_gone() && !leg.fin, "FIN of leg {} in the wrong place", id);
  require(leg.reached && leg.reached->finished && leg.reached->sent == leg.arrived, "FIN of leg {} after {} bytes", id,
          leg.arrived);
  leg.fin = true;
}

void FanoutRules::on_stopped(LegId id) {
  Known& leg = legs_.at(id);
  require(!leg.is_gone() && !leg.stopped && !leg.was_finished, "STOP of leg {} in the wrong place", id);
  leg.stopped = true;
}

bool FanoutRules::on_lost(LegId id, StreamCode code, bool is_all_kept) {
  Known& leg = legs_.at(id);
  require(!leg.is_gone(), "leg {} is lost twice", id);
  leg.lost = true;
  leg.code = code;
  was_cut = was_cut || is_loss(code);
  bool is_elsewhere = !leg.accepted && (!is_loss(code) || leg.sent == 0);
  bool is_replaced = is_elsewhere && !winner && is_all_kept && legs_.size() < servers_;
  replaceable_ += is_replaced;
  return is_replaced;
}

void FanoutRules::on_finished(LegId id) {
  Known& leg = legs_.at(id);
  require(leg.has_stream && leg.takes(), "FIN for leg {} in the wrong place", id);
  require(fin_ && leg.sent == read_, "FIN for leg {} at {} of {}{}", id, leg.sent, read_,
          fin_ ? "" : ", and the client has not ended");
  leg.was_finished = true;
}

void FanoutRules::on_muted(LegId id) {
  Known& leg = legs_.at(id);
  require(deaf_ && leg.accepted, "STOP for leg {}, but the client reads on", id);
  leg.was_muted = true;
}

void FanoutRules::on_dropped(LegId id, StreamCode code) {
  Known& leg = legs_.at(id);
  require(is_alive(leg), "leg {} is reset with {}, but it is over", id, name_of(code));
  leg.dropped = true;
  leg.code = code;
  if (abandoned_) return;
  switch (code) {
    case StreamCode::LostRace:
      had_loser = true;
      return require(mode_ == Mode::HalfDuplex && open_, "a race of leg {} was lost", id);
    case StreamCode::Lagging: was_lagging = true; return;  // check_lag() has looked
    case StreamCode::ConnectTimeout:
      return require(timed_out_ && !leg.accepted, "leg {} was accepted, and yet the time to connect is over", id);
    case StreamCode::NoQuorum:
      had_no_quorum = true;
      return require(!winner && ((timed_out_ && !open_) || !has_quorum()), "leg {} is reset, but there is a quorum",
                     id);
    default: require(false, "leg {} is reset with {}", id, name_of(code));
  }
}

void FanoutRules::on_connect_timeout() {
  auto waits = [this](const Known& leg) { return is_alive(leg) && !leg.accepted; };
  require(std::ranges::any_of(legs_, waits), "every leg was accepted, and yet the time to connect is over");
  timed_out_ = true;
}

// --- The client --------------------------------------------------------------------------------------------------

void FanoutRules::on_read(std::size_t bytes) {
  require(open_ || limits_.quorum <= 1, "{} bytes were read from the client before the quorum", bytes);
  require(!fin_, "bytes after the client's FIN");
  read_ += bytes;
}

void FanoutRules::on_sent(LegId id, std::size_t bytes) {
  Known& leg = legs_.at(id);
  require(open_ || limits_.quorum <= 1, "{} bytes were sent before the quorum", bytes);
  require(leg.has_stream && leg.takes(), "{} bytes for leg {}, which takes none", bytes, id);
  leg.sent += bytes;
  require(leg.sent <= read_, "leg {} was sent more than the client said", id);
}

void FanoutRules::on_delivered(LegId id, std::size_t bytes) {
  Known& leg = legs_.at(id);
  require(bytes > 0 && !discards() && open_, "{} bytes of leg {} for the client", bytes, id);
  require(!leg.is_gone(), "{} bytes of leg {}, which is gone ({})", bytes, id, name_of(leg.code));
  if (mode_ == Mode::HalfDuplex && !winner) {
    for (LegId other = 0; other < leg_count(); other++) {
      const Known& rival = legs_[other];
      bool raced = rival.arrived > 0 && (!rival.is_gone() || rival.code == StreamCode::LostRace);
      require(!raced || rival.first_arrival >= leg.first_arrival, "leg {} wins, but {} was first", id, other);
    }
    winner = id;
  }
  require(mode_ != Mode::HalfDuplex || winner == id, "{} bytes of leg {}, but {} has won", bytes, id, *winner);
  if (last_delivered_ && last_delivered_ != id && !deaf_) {
    const Known& last = legs_[*last_delivered_];
    require(last.reached->is_frame_end(last.delivered), "leg {} cuts what leg {} read in one go, at {}", id,
            *last_delivered_, last.delivered);
  }
  last_delivered_ = id;
  leg.delivered += bytes;
  require(leg.delivered <= leg.arrived, "more of leg {} was delivered than arrived", id);
}

void FanoutRules::on_credited(LegId id, std::size_t bytes) {
  Known& leg = legs_.at(id);
  leg.credited += bytes;
  require(leg.credited <= leg.arrived, "credit for more of leg {} than arrived", id);
}

// The client gets FIN: all that is to reach it has.
void FanoutRules::on_told_fin() const {
  require(open_, "FIN for the client before the quorum");
  if (deaf_) return;
  bool has_end = false;
  for (LegId id = 0; id < leg_count(); id++) {
    const Known& leg = legs_[id];
    bool is_whole = leg.fin && (discards() || leg.delivered == leg.arrived);
    if (!leg.is_gone()) require(is_whole, "FIN for the client, but leg {} has not ended", id);
    if (leg.is_gone() && leg.delivered > 0)
      require(is_whole, "FIN for the client, but leg {} broke after {} bytes", id, leg.delivered);
    has_end = has_end || (is_whole && !leg.is_gone());
  }
  require(has_end, "FIN for the client, but no leg ended cleanly");
  require(!winner || !legs_[*winner].is_gone(), "FIN for the client, but the winner broke");
}

bool FanoutRules::may_be_broken() const {
  if (abandoned_ || (timed_out_ && !open_) || (winner && legs_[*winner].lost) || (!winner && !has_quorum()))
    return true;
  bool is_cut = false;
  for (const Known& leg : legs_) {
    bool is_muted = leg.was_muted || (deaf_ && !leg.accepted);  // or will be, when it is accepted
    if (!leg.is_gone() && !leg.fin && !is_muted) return false;
    is_cut = is_cut || (leg.is_gone() && !leg.fin && leg.delivered > 0);
  }
  return is_cut;
}

void FanoutRules::on_told_break(StreamCode code) const {
  require(code != StreamCode::LostRace, "the client is reset for a race");
  require(may_be_broken(), "the client is reset without a reason");
}

void FanoutRules::on_told_stop(StreamCode code) const {
  require(code != StreamCode::LostRace, "the client is stopped for a race");
  require(std::ranges::none_of(legs_, &Known::takes), "the client is told to stop, but a leg reads");
}

// --- At every step -----------------------------------------------------------------------------------------------

bool FanoutRules::has_ended(const Known& leg) const {
  bool is_read = leg.fin || leg.was_muted;
  bool is_delivered = discards() || leg.delivered == leg.arrived;
  return leg.accepted && !leg.is_gone() && is_read && is_delivered && (leg.was_finished || leg.stopped);
}

std::size_t FanoutRules::count_left() const {
  return static_cast<std::size_t>(std::ranges::count_if(legs_, [](const Known& leg) { return !leg.is_gone(); }));
}

void FanoutRules::check_lag(const Fanout& fanout, bool memory_is_short) const {
  std::uint64_t most = memory_is_short ? std::min(limits_.lag, kLagWhenShort) : limits_.lag;
  std::uint64_t front = 0;
  for (const Known& leg : legs_)
    if (!leg.is_gone() && !leg.stopped) front = std::max(front, leg.sent);
  for (LegId id = 0; id < leg_count(); id++) {
    const Known& leg = legs_[id];
    if (leg.is_gone()) continue;
    bool is_dropped = fanout.leg(id).state == LegState::Dropped && fanout.leg(id).code == StreamCode::Lagging;
    if (is_dropped)
      check_dropped(id, front, most);
    else if (leg.takes() && fanout.leg(id).is_living())
      require(front <= leg.sent + most, "leg {} is {} bytes behind; {} are allowed", id, front - leg.sent, most);
  }
  require(fanout.kept() <= limits_.lag + limits_.lag / 4, "{} bytes are kept, with a limit of {}", fanout.kept(),
          limits_.lag);
}

// Whoever is dropped was waited for before.
void FanoutRules::check_dropped(LegId id, std::uint64_t front, std::uint64_t most) const {
  const Known& leg = legs_[id];
  require(front > leg.sent + most, "leg {} is dropped {} bytes behind; {} are allowed", id, front - leg.sent, most);
  bool is_steady = limits_.lag <= kLagWhenShort;  // the limit does not shrink
  require(leg.was_waited_for || !is_steady, "nobody waited for leg {}", id);
}

// A replacement has to be sent all from the first byte on.
void FanoutRules::check_kept(const Fanout& fanout) {
  bool is_opening = std::ranges::any_of(legs_, [this](const Known& leg) { return is_alive(leg) && !leg.accepted; });
  keeps_all_ = keeps_all_ && is_opening && legs_.size() < servers_ && read_ <= limits_.lag;
  require(!keeps_all_ || fanout.kept() == read_, "of {} bytes, only {} are kept for a replacement", read_,
          fanout.kept());
}

void FanoutRules::check(const Fanout& fanout, const std::vector<std::uint64_t>& queued, Time now) {
  require(fanout.leg_count() == leg_count(), "{} legs instead of {}", fanout.leg_count(), leg_count());
  require(fanout.is_open() == open_, "the quorum was {}reached", open_ ? "" : "not ");
  for (LegId id = 0; id < leg_count(); id++) check_leg(fanout, id, queued[id]);
  require(fanout.kept() <= limits_.lag + limits_.lag / 4, "{} bytes are kept", fanout.kept());
  require(winner || has_quorum() || fanout.answer() == Fanout::Answer::Broken,
          "only {} legs are left, with a quorum of {}", count_left(), limits_.quorum);
  check_latch(fanout);
  check_kept(fanout);
  check_waiting(fanout, now);
}

void FanoutRules::check_leg(const Fanout& fanout, LegId id, std::uint64_t queued) const {
  const Known& known = legs_[id];
  const Leg& leg = fanout.leg(id);
  LegState state = known.lost         ? LegState::Failed
                   : known.dropped    ? LegState::Dropped
                   : has_ended(known) ? LegState::Ended
                   : known.accepted   ? LegState::Open
                   : known.has_stream ? LegState::Opening
                                      : LegState::Waiting;
  require(leg.state == state, "leg {} is in state {} instead of {}", id, static_cast<int>(leg.state),
          static_cast<int>(state));
  require(leg.server == known.server, "leg {} has changed its server", id);
  bool is_deaf_to = known.was_muted || known.fin || !known.accepted;
  require(!deaf_ || is_deaf_to || known.is_gone(), "leg {} still sends to a client that reads no more", id);
  if (known.is_gone()) return require(leg.held.empty(), "leg {} is gone and holds bytes", id);
  std::uint64_t held = discards() ? 0 : known.arrived - known.delivered;
  require(leg.held.size() == held, "leg {} holds {} bytes instead of {}", id, leg.held.size(), held);
  require(known.arrived == known.credited + held + queued,
          "leg {}: of {} bytes that came, {} are credited, {} held and "
          "{} queued",
          id, known.arrived, known.credited, held, queued);
  if (!open_ || held == 0) return;
  require(mode_ == Mode::FullDuplex && known.delivered >= known.reached->whole_frames(known.arrived),
          "{} bytes of leg {} are held, though they are whole", held, id);
}

void FanoutRules::check_latch(const Fanout& fanout) const {
  require(fanout.winner() == winner, "leg {} has won, but nothing of it was delivered", fanout.winner().value_or(0));
  if (mode_ != Mode::HalfDuplex || !open_) return;
  for (LegId id = 0; id < leg_count(); id++) {
    if (winner && id != *winner) require(!is_alive(legs_[id]), "leg {} lives on after the latch", id);
    if (!winner) require(legs_[id].is_gone() || legs_[id].arrived == 0, "leg {} has answered, but nobody has won", id);
  }
}

// A leg that does not move holds up the others for a moment only.
void FanoutRules::check_waiting(const Fanout& fanout, Time now) {
  bool waited = std::exchange(waits_, fanout.next_deadline() != Time::max());
  std::uint64_t near = std::min(limits_.lag / 4, kNear / 2);
  for (Known& leg : legs_) leg.was_waited_for = waits_ || (leg.was_waited_for && fanout.front() > leg.sent + near);
  if (!waits_) return;
  was_waiting = true;
  require(fanout.next_deadline() <= now + kPatience, "the others wait for longer than 0.25 s");
  bool is_long = waited && now - waits_since_ > 2 * kPatience;
  if (is_long) {
    bool has_moved = false;
    for (LegId id = 0; id < sent_then_.size(); id++) has_moved = has_moved || legs_[id].sent > sent_then_[id];
    require(has_moved, "the others wait for legs that do not move");
  }
  if (waited && !is_long) return;
  waits_since_ = now;
  sent_then_.clear();
  for (const Known& leg : legs_) sent_then_.push_back(leg.sent);
}

void FanoutRules::check_end() const {
  for (LegId id = 0; id < leg_count(); id++) require(!is_alive(legs_[id]), "leg {} never ended", id);
}

}  // namespace cloudbus
