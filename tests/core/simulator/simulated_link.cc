// SPDX-License-Identifier: Apache-2.0
#include "core/simulator/simulated_link.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "core/require.h"

namespace cloudbus {

using std::chrono::microseconds;
using std::chrono::milliseconds;

SimulatedLink::SimulatedLink(FanoutWorld& world, LinkId number, ServerIndex its_server, Budget& memory)
    : id(number),
      server(its_server),
      budget(world.random.pick<std::uint64_t>({64 * 1024, 1024 * 1024, 64 * 1024 * 1024})),
      world_(world),
      memory_(memory),
      is_resumable_(world.resumable) {
  Random& random = world.random;
  limits_.initial_window = world.window;
  limits_.max_streams = random.pick<std::uint64_t>({1, 2, 40, 40, 40});
  auto capacity = world.scale < 30'000 ? random.pick<std::size_t>({20, 300, 5'000})
                                       : random.pick<std::size_t>({5'000, 70'000, 1'000'000});
  if (world.uploads > 1) capacity = std::max<std::size_t>(capacity, 70'000);
  auto delay = random.pick<Duration>({microseconds(0), microseconds(100), milliseconds(5), milliseconds(100)});
  // A link so slow that what stands before a ping takes seconds would be taken for dead.
  auto slowest = capacity < 1'000 ? Duration(100) : capacity < 50'000 ? milliseconds(5) : milliseconds(100);
  for (int e = 0; e < 2; e++) {
    Role role = e == 0 ? Role::Controller : Role::Segment;
    ends[e].session =
        std::make_unique<Session>(role, hello(e), limits_, FanoutWorld::slabs(), e == 0 ? memory : budget, world.now);
    ends[e].pipe.capacity = capacity;
    ends[e].pipe.delay = std::min<Duration>(slowest, delay);
    ends[e].most_output = random.size(1024 * 1024);
  }
  if (world.restless && random.chance(50)) {
    fate = random.pick({Fate::Cut, Fate::Cut, Fate::Cut, Fate::Close, Fate::Drain, Fate::BlackHole});
    fate_at = world.steps + random.size(3'000);
  }
  plan_cuts();
  world.say("link {} to server {}: capacity {}, delay {} us, max-streams {}, fate {} at {}, {} cuts", id, server,
            capacity, ends[0].pipe.delay.count(), limits_.max_streams, static_cast<int>(fate), fate_at, cuts_.size());
}

Hello SimulatedLink::hello(int e) {
  Hello hello{.software = "simulator"};
  if (!is_resumable_) return hello;
  auto draw = [this](auto& bytes) {
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(world_.random.below(256));
  };
  hello.resume.emplace().wait_ms = 30'000;
  draw(hello.resume->nonce);
  if (e == 0) return hello;
  SessionKey& key = hello.session.emplace();
  draw(key.id);
  draw(key.secret);
  return hello;
}

bool SimulatedLink::is_idle() const {
  return std::ranges::all_of(ends, [](const End& end) { return !end.session || end.session->stream_count() == 0; });
}

bool SimulatedLink::pump(int e) {
  Session* session = carried(e);
  if (!session) return false;
  Output& output = session->output();
  std::size_t space = std::min(ends[e].pipe.space(), output.size());
  if (space == 0) return false;
  write(output, ends[e].pipe, world_.random.size(space));
  session->on_written(world_.now);
  return true;
}

void SimulatedLink::write(Output& output, Pipe& pipe, std::size_t most) {
  iovec parts[4];
  int count = output.gather(parts, 4);
  std::size_t put = 0;
  for (int i = 0; i < count && put < most; i++) {
    std::size_t length = std::min(parts[i].iov_len, most - put);
    if (!pipe.ended) pipe.push({static_cast<const std::byte*>(parts[i].iov_base), length}, world_.now);
    put += length;
  }
  output.consume(put);
}

bool SimulatedLink::receive(int e, const OnEvent& on_event) {
  if (e == 1 && is_on_old_link_ && world_.random.chance(50) && receive_late(on_event)) return true;
  Pipe& pipe = ends[1 - e].pipe;
  if (!carried(e) || pipe.next_arrival() > world_.now) return false;
  arrived_ = pipe.pop(world_.random.size(world_.most_chunk), world_.now);
  Bytes input(arrived_);
  world_.note(input.size());
  if (ends[e].is_attached)
    take(e, input, on_event);
  else
    receive_fresh(e, input, on_event);
  return true;
}

void SimulatedLink::take(int e, Bytes input, const OnEvent& on_event) {
  Session& session = *ends[e].session;
  while (auto event = session.receive(input, world_.now)) {
    world_.note(static_cast<std::uint64_t>(event->kind) * 31 + event->stream);
    world_.note(event->data.size());
    if (event->kind != EventKind::Established && event->kind != EventKind::MoreStreams) world_.progress();
    on_event(*event);
  }
  require(session.is_closed() || input.empty(), "link {} left {} bytes untaken", id, input.size());
}

std::optional<Session::Quantum> SimulatedLink::next_quantum(int e) {
  Session& session = *ends[e].session;
  if (session.output().size() >= ends[e].most_output || session.is_closed()) return std::nullopt;
  return session.next_quantum();
}

std::vector<int> SimulatedLink::meet_fate() {
  std::vector<int> noticed;
  if (is_dead(0) || is_dead(1) || closing) return noticed;
  world_.say("link {} meets its fate, {}", id, static_cast<int>(fate));
  switch (fate) {
    case Fate::None: break;
    case Fate::Cut:
      cut = true;
      cut_pipes();
      for (int e = 0; e < 2; e++)
        if (ends[1 - e].pipe.size() == 0 || world_.random.chance(30)) noticed.push_back(e);
      break;
    case Fate::Close:
      closing = true;
      ends[1].session->close(LinkCode::Shutdown, "the simulation closes it");
      noticed.push_back(1);
      break;
    case Fate::Drain:
      if (!ends[1].session->is_established() || !ends[1].is_attached) {
        fate_at = world_.steps + 1;
        break;
      }
      draining = true;
      ends[1].session->drain(world_.now);
      break;
    case Fate::BlackHole: {
      int e = static_cast<int>(world_.random.below(2));
      ends[e].pipe.swallows = true;
      if (world_.random.chance(50)) ends[1 - e].pipe.swallows = true;
      break;
    }
  }
  return noticed;
}

void SimulatedLink::check_closed(int e) const {
  const LinkError& error = ends[e].session->closed().error;
  world_.say("link {} was closed at end {}: {} {}", id, e, name_of(error.code), error.reason);
  bool timed_out = error.code == LinkCode::PingTimeout || error.code == LinkCode::HandshakeTimeout;
  bool meant = closing || (fate == Fate::BlackHole && world_.steps >= fate_at && timed_out);
  require(meant, "link {} closed its session: {}: {}", id, name_of(error.code), error.reason);
}

std::vector<OwnerId> SimulatedLink::lose(int e) {
  world_.say("link {} is lost at end {}", id, e);
  world_.progress();
  std::vector<OwnerId> owners;
  auto session = std::exchange(ends[e].session, nullptr);
  session->for_each_stream([&](StreamId, OwnerId owner) { owners.push_back(owner); });
  std::ranges::sort(owners);
  Pipe& pipe = ends[e].pipe;
  pipe.capacity = kNever;
  while (!cut && ends[e].is_attached && !session->output().empty()) write(session->output(), pipe, kNever);
  pipe.ended = true;
  ends[e].fresh.reset();
  ends[1 - e].pipe.discard();
  if (e == 1) is_on_old_link_ = false;
  return owners;
}

Time SimulatedLink::next_event() const {
  Time next = is_dead(0) ? Time::max() : relink_at_;
  for (int e = 0; e < 2; e++) {
    if (is_dead(e)) continue;
    next = std::min(next, ends[e].session->next_deadline());
    if (Session* session = carried(e))
      next = std::min({next, session->next_deadline(), ends[1 - e].pipe.next_arrival()});
  }
  return next;
}

// --- Resuming ----------------------------------------------------------------------------------------------------

void SimulatedLink::plan_cuts() {
  if (!is_resumable_) return;
  Random& random = world_.random;
  for (std::uint64_t cuts = random.below(6); cuts > 0; cuts--) cuts_.push_back(world_.steps + random.size(6'000));
  if (!cuts_.empty() && random.chance(30)) cuts_.push_back(cuts_.back() + random.size(30));  // while it is resumed
  std::ranges::sort(cuts_, std::greater<>());
}

void SimulatedLink::cut_pipes() {
  for (End& end : ends) {
    if (world_.random.chance(50)) end.pipe.discard();
    end.pipe.ended = true;
  }
}

bool SimulatedLink::may_wait(int e) const {
  const Session& session = *ends[e].session;
  return session.is_resumable() && (session.is_established() || session.is_detached()) && !closing && !draining &&
         !is_dead(1 - e);
}

void SimulatedLink::detach(int e) {
  world_.say("link {} breaks at end {}, whose session waits for another", id, e);
  world_.progress();
  End& end = ends[e];
  end.session->detach();
  end.is_attached = false;
  end.fresh.reset();
  end.pipe.ended = true;
  ends[1 - e].pipe.discard();
  if (e == 1) is_on_old_link_ = false;
  if (e == 0) relink_at_ = world_.now + Duration(world_.random.below(2'000'000));
}

std::vector<int> SimulatedLink::on_time() {
  std::vector<int> lost;
  auto break_link = [&](int e) { may_wait(e) ? detach(e) : lost.push_back(e); };
  bool is_whole = !is_dead(0) && !is_dead(1) && ends[0].is_attached && ends[1].is_attached &&
                  ends[0].session->is_established() && ends[1].session->is_established();
  if (!cuts_.empty() && world_.steps >= cuts_.back()) {
    cuts_.pop_back();
    bool may_cut = !is_dead(0) && !is_dead(1) && !closing && (is_whole || ends[0].fresh);
    if (may_cut) {
      world_.say("link {} is cut", id);
      cut_pipes();
    }
  }
  for (int e = 0; e < 2; e++) {
    if (is_dead(e)) continue;
    Session& session = *ends[e].session;
    session.on_time(world_.now);
    if (session.is_closed()) {
      lost.push_back(e);
      continue;
    }
    if (session.is_silent()) break_link(e);
    if (Session* fresh = ends[e].fresh.get()) {
      fresh->on_time(world_.now);
      if (fresh->is_closed()) break_link(e);
    }
    // Nobody resumes it.
    if (!ends[e].is_attached && (is_dead(1 - e) || draining || closing)) lost.push_back(e);
  }
  if (!is_dead(0) && world_.now >= relink_at_) {
    if (world_.random.chance(8))
      lost.push_back(0);  // its time is over
    else
      relink();
  }
  return lost;
}

void SimulatedLink::relink() {
  relink_at_ = Time::max();
  if (ends[0].is_attached || is_dead(1)) return;
  world_.say("another link {}", id);
  if (ends[1].is_attached) {
    ends[1].is_attached = false;
    is_on_old_link_ = true;
    old_pipe_ = std::move(ends[0].pipe);
  }
  for (int e = 0; e < 2; e++) {
    Pipe pipe;
    bool was_moved = e == 0 && is_on_old_link_;
    pipe.capacity = was_moved ? old_pipe_.capacity : ends[e].pipe.capacity;
    pipe.delay = was_moved ? old_pipe_.delay : ends[e].pipe.delay;
    ends[e].pipe = std::move(pipe);
    ends[e].fresh = std::make_unique<Session>(e == 0 ? Role::Controller : Role::Segment, hello(e), limits_,
                                              FanoutWorld::slabs(), e == 0 ? memory_ : budget, world_.now);
  }
}

bool SimulatedLink::receive_late(const OnEvent& on_event) {
  if (old_pipe_.size() == 0) return false;
  arrived_ = old_pipe_.pop(world_.random.size(world_.most_chunk), Time::max());
  world_.say("{} bytes of an old link {}", arrived_.size(), id);
  take(1, arrived_, on_event);
  return true;
}

void SimulatedLink::receive_fresh(int e, Bytes input, const OnEvent& on_event) {
  world_.progress();
  while (auto event = ends[e].fresh->receive(input, world_.now)) {
    switch (event->kind) {
      case EventKind::Established:
        if (e == 0) ends[0].fresh->ask_resume(*ends[0].session);
        break;
      case EventKind::ResumeAsked: return resume_segment(*event->resume, input, on_event);
      case EventKind::Resumed: resumed++; return attach(0, event->resume->position, {}, input, on_event);
      default:
        require(false, "an event of kind {} of a new link: {}", static_cast<int>(event->kind),
                ends[e].fresh->closed().error.reason);
    }
  }
}

void SimulatedLink::resume_segment(const ResumeFrame& request, Bytes rest, const OnEvent& on_event) {
  Session& session = *ends[1].session;
  ResumeClaim claim = ends[1].fresh->claim_of(request);
  require(claim.session == session.key().id, "RESUME of another session");
  require(is_proven(claim, session.key().secret, request.proof), "RESUME without a proof");
  is_on_old_link_ = false;  // it is fenced
  if (session.is_closed()) return;
  session.detach();
  auto answer = session.accept_resume(claim);
  require(answer.has_value(), "RESUME was not accepted");
  attach(1, request.position, *answer, rest, on_event);
}

void SimulatedLink::attach(int e, std::uint64_t position, Bytes answer, Bytes rest, const OnEvent& on_event) {
  std::vector<std::byte> opening;
  for (Output& output = ends[e].fresh->output(); !output.empty();) {
    iovec part;
    output.gather(&part, 1);
    auto* begin = static_cast<const std::byte*>(part.iov_base);
    opening.insert(opening.end(), begin, begin + part.iov_len);
    output.consume(part.iov_len);
  }
  opening.insert(opening.end(), answer.begin(), answer.end());
  world_.say("link {} goes on at end {}", id, e);
  Session& session = *ends[e].session;
  session.attach(position, opening, world_.now);
  require(!session.is_closed(), "link {} cannot go on: {}", id, session.closed().error.reason);
  ends[e].fresh.reset();
  ends[e].is_attached = true;
  if (!rest.empty()) take(e, rest, on_event);
}

}  // namespace cloudbus
