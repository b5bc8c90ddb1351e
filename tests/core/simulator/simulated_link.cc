// SPDX-License-Identifier: Apache-2.0
#include "core/simulator/simulated_link.h"

#include <algorithm>
#include <utility>

#include "core/require.h"

namespace cloudbus {

using std::chrono::microseconds;
using std::chrono::milliseconds;

SimulatedLink::SimulatedLink(FanoutWorld& world, LinkId number, ServerIndex its_server, Budget& memory)
    : id(number),
      server(its_server),
      budget(world.random.pick<std::uint64_t>({64 * 1024, 1024 * 1024, 64 * 1024 * 1024})),
      world_(world) {
  Random& random = world.random;
  SessionLimits limits;
  limits.initial_window = world.window;
  limits.max_streams = random.pick<std::uint64_t>({1, 2, 40, 40, 40});
  auto capacity = world.scale < 30'000 ? random.pick<std::size_t>({20, 300, 5'000})
                                       : random.pick<std::size_t>({5'000, 70'000, 1'000'000});
  if (world.uploads > 1) capacity = std::max<std::size_t>(capacity, 70'000);
  auto delay = random.pick<Duration>({microseconds(0), microseconds(100), milliseconds(5), milliseconds(100)});
  // A link so slow that what stands before a ping takes seconds would be taken for dead.
  auto slowest = capacity < 1'000 ? Duration(100) : capacity < 50'000 ? milliseconds(5) : milliseconds(100);
  for (int e = 0; e < 2; e++) {
    Role role = e == 0 ? Role::Controller : Role::Segment;
    ends[e].session = std::make_unique<Session>(role, Hello{.software = "simulator"}, limits, FanoutWorld::slabs(),
                                                e == 0 ? memory : budget, world.now);
    ends[e].pipe.capacity = capacity;
    ends[e].pipe.delay = std::min<Duration>(slowest, delay);
    ends[e].most_output = random.size(1024 * 1024);
  }
  if (world.restless && random.chance(50)) {
    fate = random.pick({Fate::Cut, Fate::Cut, Fate::Cut, Fate::Close, Fate::Drain, Fate::BlackHole});
    fate_at = world.steps + random.size(3'000);
  }
  world.say("link {} to server {}: capacity {}, delay {} us, max-streams {}, fate {} at {}", id, server, capacity,
            ends[0].pipe.delay.count(), limits.max_streams, static_cast<int>(fate), fate_at);
}

bool SimulatedLink::is_idle() const {
  return std::ranges::all_of(ends, [](const End& end) { return !end.session || end.session->stream_count() == 0; });
}

bool SimulatedLink::pump(int e) {
  Output& output = ends[e].session->output();
  std::size_t space = std::min(ends[e].pipe.space(), output.size());
  if (space == 0) return false;
  write(output, ends[e].pipe, world_.random.size(space));
  ends[e].session->on_written(world_.now);
  return true;
}

void SimulatedLink::write(Output& output, Pipe& pipe, std::size_t most) {
  iovec parts[4];
  int count = output.gather(parts, 4);
  std::size_t put = 0;
  for (int i = 0; i < count && put < most; i++) {
    std::size_t length = std::min(parts[i].iov_len, most - put);
    pipe.push({static_cast<const std::byte*>(parts[i].iov_base), length}, world_.now);
    put += length;
  }
  output.consume(put);
}

bool SimulatedLink::receive(int e, const std::function<void(const Event&)>& on_event) {
  Pipe& pipe = ends[1 - e].pipe;
  if (pipe.next_arrival() > world_.now) return false;
  arrived_ = pipe.pop(world_.random.size(world_.most_chunk), world_.now);
  Bytes input(arrived_);
  world_.note(input.size());
  Session& session = *ends[e].session;
  while (auto event = session.receive(input, world_.now)) {
    world_.note(static_cast<std::uint64_t>(event->kind) * 31 + event->stream);
    world_.note(event->data.size());
    if (event->kind != EventKind::Established && event->kind != EventKind::MoreStreams) world_.progress();
    on_event(*event);
  }
  require(session.is_closed() || input.empty(), "link {} left {} bytes untaken", id, input.size());
  return true;
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
      for (End& end : ends) {
        if (world_.random.chance(50)) end.pipe.discard();
        end.pipe.ended = true;
      }
      for (int e = 0; e < 2; e++)
        if (ends[1 - e].pipe.size() == 0 || world_.random.chance(30)) noticed.push_back(e);
      break;
    case Fate::Close:
      closing = true;
      ends[1].session->close(LinkCode::Shutdown, "the simulation closes it");
      noticed.push_back(1);
      break;
    case Fate::Drain:
      if (!ends[1].session->is_established()) {
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
  while (!cut && !session->output().empty()) write(session->output(), pipe, kNever);
  pipe.ended = true;
  ends[1 - e].pipe.discard();
  return owners;
}

Time SimulatedLink::next_event() const {
  Time next = Time::max();
  for (int e = 0; e < 2; e++)
    if (!is_dead(e)) next = std::min({next, ends[e].session->next_deadline(), ends[1 - e].pipe.next_arrival()});
  return next;
}

}  // namespace cloudbus
