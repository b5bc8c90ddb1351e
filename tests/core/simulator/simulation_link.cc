// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "core/simulator/simulation.h"

namespace cloudbus {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

}  // namespace

// --- The link ----------------------------------------------------------------------------------------------------

bool Simulation::pump(int e) {
  if (!carried(e)) return false;
  Output& output = carried(e)->output();
  Pipe& pipe = pipes_[e];
  std::size_t space = std::min(pipe.space(), output.size());
  if (space == 0) return false;
  std::size_t part = world_.random.size(space);
  iovec parts[4];
  int count = output.gather(parts, 4);
  std::size_t put = 0;
  for (int i = 0; i < count && put < part; i++) {
    std::size_t length = std::min(parts[i].iov_len, part - put);
    if (!pipe.ended) pipe.push({static_cast<const std::byte*>(parts[i].iov_base), length}, world_.now);
    put += length;
  }
  output.consume(put);
  carried(e)->on_written(world_.now);
  return true;
}

bool Simulation::deliver(int e) {
  if (e == 1 && is_on_old_link_ && world_.random.chance(50) && deliver_late()) return true;
  if (!carried(e)) return false;
  Pipe& pipe = pipes_[1 - e];
  if (pipe.size() == 0 && pipe.ended) return end_link(e), true;
  if (pipe.next_arrival() > world_.now) return false;
  auto bytes = pipe.pop(world_.random.size(most_chunk_), world_.now);
  ends_[e]->last_heard = world_.now;
  Bytes input(bytes);
  if (!ends_[e]->is_attached) return receive_fresh(e, input);
  take(e, input);
  return true;
}

void Simulation::take(int e, Bytes input) {
  std::size_t before = input.size();
  while (auto event = session(e).receive(input, world_.now)) {
    on_event(e, *event);
    if (session(e).is_closed()) break;
    if (world_.random.chance(10)) run_application(e);
    if (session(e).is_closed()) break;
  }
  world_.note(before);
  if (session(e).is_closed())
    on_closed(e);
  else
    require(input.empty(), "{} left {} bytes untaken", name(e), input.size());
}

// --- Resuming ----------------------------------------------------------------------------------------------------

void Simulation::end_link(int e) {
  End& end = *ends_[e];
  if (end.dead) return;
  bool waits = session(e).is_resumable() && !closing_ && !ends_[1 - e]->dead &&
               (session(e).is_established() || session(e).is_detached());
  if (!waits) return lose_link(e);
  say("{} waits for another link", name(e));
  session(e).detach();
  end.is_attached = false;
  end.fresh.reset();
  if (e == 1 && is_on_old_link_) is_on_old_link_ = false;
  pipes_[e].ended = true;
  pipes_[1 - e].discard();
  world_.progress();
  if (e == 0) relink_at_ = world_.now + Duration(world_.random.below(2'000'000));
}

void Simulation::cut_link() {
  cuts_.pop_back();
  if (!both_live() || closing_) return;
  bool is_early = (ends_[0]->is_attached && !session(0).is_established()) ||
                  (ends_[1]->is_attached && !session(1).is_established());
  if (is_early) return cuts_.push_back(world_.steps + world_.random.size(200));
  say("the link is cut");
  for (Pipe& pipe : pipes_) {
    if (world_.random.chance(50)) pipe.discard();
    pipe.ended = true;
  }
}

bool Simulation::deliver_late() {
  if (old_pipe_.size() == 0) return false;
  auto bytes = old_pipe_.pop(world_.random.size(most_chunk_), Time::max());
  say("segment gets {} bytes of an old link", bytes.size());
  take(1, bytes);
  return true;
}

void Simulation::relink() {
  relink_at_ = Time::max();
  if (ends_[0]->dead || ends_[0]->is_attached) return;
  if (ends_[1]->dead) return lose_link(0);  // the segment does not know the session
  say("another link");
  if (ends_[1]->is_attached) {
    ends_[1]->is_attached = false;
    is_on_old_link_ = true;
    old_pipe_ = std::move(pipes_[0]);
  }
  for (int e = 0; e < 2; e++) {
    Pipe pipe;
    pipe.capacity = pipes_[e].capacity == 0 ? old_pipe_.capacity : pipes_[e].capacity;
    pipe.delay = e == 0 && is_on_old_link_ ? old_pipe_.delay : pipes_[e].delay;
    pipes_[e] = std::move(pipe);
  }
  for (int e = 0; e < 2; e++)
    ends_[e]->fresh = std::make_unique<Session>(e == 0 ? Role::Controller : Role::Segment, hello(e), ends_[e]->limits,
                                                SimulatedWorld::slabs(), ends_[e]->budget, world_.now);
}

bool Simulation::receive_fresh(int e, Bytes input) {
  world_.progress();
  while (auto event = ends_[e]->fresh->receive(input, world_.now)) {
    switch (event->kind) {
      case EventKind::Established:
        if (e == 0) ends_[0]->fresh->ask_resume(session(0));
        break;
      case EventKind::ResumeAsked: return resume_segment(*event->resume, input), true;
      case EventKind::Resumed: resumed_++; return attach(0, event->resume->position, {}, input), true;
      default:
        require(false, "an event of kind {} of a new link: {}", static_cast<int>(event->kind),
                ends_[e]->fresh->closed().error.reason);
    }
  }
  return true;
}

void Simulation::resume_segment(const ResumeFrame& request, Bytes rest) {
  ResumeClaim claim = ends_[1]->fresh->claim_of(request);
  require(claim.session == session(1).key().id, "RESUME of another session");
  require(is_proven(claim, session(1).key().secret, request.proof), "RESUME without a proof");
  is_on_old_link_ = false;  // it is fenced
  if (session(1).is_closed()) return;
  session(1).detach();
  auto answer = session(1).accept_resume(claim);
  require(answer.has_value(), "RESUME was not accepted");
  attach(1, request.position, *answer, rest);
}

void Simulation::attach(int e, std::uint64_t position, Bytes answer, Bytes rest) {
  std::vector<std::byte> opening;
  for (Output& output = ends_[e]->fresh->output(); !output.empty();) {
    iovec part;
    output.gather(&part, 1);
    auto* begin = static_cast<const std::byte*>(part.iov_base);
    opening.insert(opening.end(), begin, begin + part.iov_len);
    output.consume(part.iov_len);
  }
  opening.insert(opening.end(), answer.begin(), answer.end());
  say("{} goes on", name(e));
  session(e).attach(position, opening, world_.now);
  require(!session(e).is_closed(), "{} cannot go on: {}", name(e), session(e).closed().error.reason);
  ends_[e]->fresh.reset();
  ends_[e]->is_attached = true;
  if (!rest.empty()) take(e, rest);
}

void Simulation::on_closed(int e) {
  const Closed& closed = session(e).closed();
  say("{} closed: {} {}{}", name(e), name_of(closed.error.code), closed.error.reason,
      closed.by_peer ? " (by the peer)" : "");
  bool hole = ending_ == Ending::BlackHole && world_.steps >= ends_at_;
  bool timed_out = closed.error.code == LinkCode::PingTimeout || closed.error.code == LinkCode::HandshakeTimeout;
  bool meant = closing_ || (hole && timed_out);
  require(meant, "{} closed its session: {}: {}", name(e), name_of(closed.error.code), closed.error.reason);
  if (hole && !closed.by_peer)
    require(world_.now - ends_[e]->last_heard <= seconds(15) + milliseconds(100), "{} noticed a dead peer late",
            name(e));
  if (closed.by_peer) require(closed.error.code == close_code_ || hole, "CLOSE arrived with another code");
  if (closed.by_peer)
    require(session(1 - e).closed().error.reason == closed.error.reason, "CLOSE arrived with another reason");
  lose_link(e);
}

void Simulation::lose_link(int e) {
  End& end = *ends_[e];
  if (end.dead) return;
  say("{} lost its link", name(e));
  require(closing_ || cut_ || ending_ == Ending::BlackHole, "{} lost a link that was not cut", name(e));
  bool was_attached = end.is_attached;
  end.fresh.reset();
  if (e == 1) is_on_old_link_ = false;
  std::vector<OwnerId> owners;
  session(e).for_each_stream([&](StreamId, OwnerId owner) { owners.push_back(owner); });
  for (OwnerId owner : owners) {
    OneToOneRelay* side = owner == 0 ? nullptr : find_side(e, owner);
    require(side && !side->over(), "{} named an owner of no living stream: {}", name(e), owner);
    side->on_lost();
  }
  while (!cut_ && was_attached && !session(e).output().empty()) {  // the kernel sends what it was given
    std::size_t capacity = std::exchange(pipes_[e].capacity, kNever);
    pump(e);
    pipes_[e].capacity = capacity;
  }
  pipes_[e].ended = true;
  pipes_[1 - e].discard();
  end.dead = true;
  world_.progress();
  // Nobody resumes the other one.
  if (!ends_[1 - e]->dead && session(1 - e).is_detached()) lose_link(1 - e);
}

void Simulation::begin_ending() {
  if (!both_live() || closing_) return;
  int e = static_cast<int>(world_.random.below(2));
  switch (ending_) {
    case Ending::Quiet: return;
    case Ending::DrainBySegment: return drain(1);
    case Ending::DrainByController: return drain(0);
    case Ending::Cut:
      if (is_resumable_) return cuts_.push_back(world_.steps);
      say("cut");
      cut_ = true;
      for (Pipe& pipe : pipes_) {
        if (world_.random.chance(50)) pipe.discard();
        pipe.ended = true;
      }
      for (int i = 0; i < 2; i++)
        if (pipes_[i].size() == 0 || world_.random.chance(30)) lose_link(1 - i);
      return;
    case Ending::Close: return close(e, LinkCode::Shutdown);
    case Ending::BlackHole:
      say("black hole");
      pipes_[e].swallows = true;
      if (world_.random.chance(50)) pipes_[1 - e].swallows = true;
      return;
  }
}

void Simulation::drain(int e) {
  if (session(e).is_detached()) return void(ends_at_ = world_.steps + 1);
  if (!session(e).is_established()) return void(ends_at_ = world_.steps + 1);  // a little later
  say("{} drains", name(e));
  session(e).drain(world_.now);
  session(e).drain(world_.now);  // once more changes nothing
  draining_ = true;
}

void Simulation::close(int e, LinkCode code) {
  closing_ = true;
  close_code_ = code;
  say("{} closes", name(e));
  session(e).close(code, "the simulation closes it");
  session(e).close(LinkCode::ProtocolError, "once more changes nothing");
  on_closed(e);
}

void Simulation::begin_quiet_end() {
  if (cut_ || closing_ || !session(0).is_established() || !session(1).is_established()) return;
  if (ending_ == Ending::BlackHole && world_.steps >= ends_at_ && !is_resumable_) return;
  if (!draining_) drain(static_cast<int>(world_.random.below(2)));
  for (int e = 0; e < 2; e++)
    if (!closing_ && session(e).is_drained()) close(e, LinkCode::NoError);
}

bool Simulation::all_over() const {
  return std::ranges::all_of(conversations_, [](const Conversation& conversation) {
    return is_over(conversation, 0) && is_over(conversation, 1);
  });
}

bool Simulation::is_over(const Conversation& conversation, int e) {
  const OneToOneRelay& side = conversation.side(e);
  return conversation.given_up ||
         (side.exists ? side.is_closed() && (e == 0 || side.released) : e == 1 && conversation.side(0).is_closed());
}

}  // namespace cloudbus
