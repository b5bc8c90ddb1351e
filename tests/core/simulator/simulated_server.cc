// SPDX-License-Identifier: Apache-2.0
#include "core/simulator/simulated_server.h"

#include <algorithm>

namespace cloudbus {

SimulatedServer::SimulatedServer(FanoutWorld& world, std::uint64_t its_link) : link(its_link), world_(world) {
  Random& random = world.random;
  exists = true;
  pending = std::make_unique<ByteQueue>();
  key = random.below(Content::kPeriod);
  to_send = random.chance(20) ? 0 : random.size(world.scale);
  burst = world.scale / 300 + random.size(world.scale);
  if (random.chance(8)) reset_after = random.below(world.scale);
  if (random.chance(8)) stop_after = random.below(world.scale);
  if (random.chance(20)) pause = Duration(random.size(3'000'000));
  if (random.chance(10)) stalled_until = world.now + Duration(random.size(20'000'000));
  code = static_cast<StreamCode>(random.below(static_cast<unsigned>(StreamCode::LostRace)));
  refuses = random.chance(15);
  if (refuses)
    code = random.pick({StreamCode::UnknownService, StreamCode::ConnectFailed, StreamCode::ConnectTimeout,
                        StreamCode::Overload, StreamCode::NoDescriptors, StreamCode::GoingAway});
  accepts_at = world.now;
  if (random.chance(30)) accepts_at = world.now + Duration(random.size(1'000'000));
  if (random.chance(5)) accepts_at = Time::max();
  waits_for_fin = random.chance(20);
  waits_for_bytes = random.chance(40);
  if (random.chance(30)) not_before = world.now + Duration(random.size(500'000));
  if (!world.eager || !random.chance(70)) return;
  to_send = random.size(200);
  waits_for_fin = waits_for_bytes = false;
  if (random.chance(50)) stop_after = 0;
}

bool SimulatedServer::act(Session& session) {
  if (not_before > world_.now) return false;
  if (over()) return wind_up(session);
  if (!accepted) return answer(session);
  if (sent + received >= reset_after) return reset(session), true;
  if (!receiving_done() && consumed >= stop_after) {
    world_.say("leg {} of client {}: the server reads no more", leg, client);
    stopped = true;
    session.stop(stream, code);
    return true;
  }
  if (world_.random.chance(50) && read(session)) return true;
  return write(session) || read(session);
}

bool SimulatedServer::answer(Session& session) {
  if (accepts_at > world_.now) return false;
  if (refuses) return reset(session), true;
  accepted = true;
  session.accept(stream);
  return true;
}

void SimulatedServer::reset(Session& session) {
  world_.say("leg {} of client {}: the server resets with {}", leg, client, name_of(code));
  own_reset = true;
  session.reset(stream, code);
}

bool SimulatedServer::read(Session& session) {
  if (pending->empty() || stalled_until > world_.now) return false;
  take_pending(session, world_.random.chance(30) ? pending->size() : world_.random.size(pending->size()));
  if (world_.random.chance(20)) not_before = world_.now + pause;
  return true;
}

void SimulatedServer::take_pending(Session& session, std::size_t bytes) {
  pending->pop(bytes);
  consumed += bytes;
  session.consumed(stream, bytes, world_.now);
}

bool SimulatedServer::write(Session& session) {
  bool waits = (waits_for_fin && !receiving_done()) || (waits_for_bytes && received == 0 && !receiving_done());
  if (sending_done() || waits) return false;
  if (sent == to_send) {
    if (to_send == 0 && !receiving_done()) return false;  // it has nothing to say, to the end
    world_.say("leg {} of client {}: the server has sent all {}", leg, client, sent);
    finished = true;
    session.finish(stream);
    return true;
  }
  if (ready > 0) return false;
  ready = std::min(world_.random.size(burst), to_send - sent);
  session.want(stream);
  if (world_.random.chance(20)) not_before = world_.now + pause;
  return true;
}

void SimulatedServer::fill(Session& session, const Session::Quantum& quantum) {
  std::size_t most = world_.random.chance(50) ? quantum.bytes : world_.random.size(quantum.bytes);
  most = std::min<std::size_t>(ready, most);
  Output::Room room = session.reserve(quantum, std::max<std::size_t>(most, 1));
  std::size_t filled = std::min(most, room.size), done = 0;
  for (int i = 0; i < room.count && done < filled; i++) {
    std::size_t part = std::min(filled - done, room.parts[i].iov_len);
    FanoutWorld::content().fill(static_cast<std::byte*>(room.parts[i].iov_base), part, key, sent);
    sent += part;
    frame_ends.push_back(sent);
    done += part;
  }
  ready -= filled;
  session.fill_done(quantum.stream, filled, ready > 0);
  if (filled > 0) world_.progress();
}

// The stream is over: what is left is read or dropped, and the segment counts the work as done.
bool SimulatedServer::wind_up(Session& session) {
  if (!pending->empty()) {
    if (stalled_until > world_.now && !was_reset && !own_reset) return false;
    take_pending(session, pending->size());
    return true;
  }
  if (released) return false;
  released = true;
  session.release();
  return true;
}

bool SimulatedServer::is_frame_end(std::uint64_t offset) const {
  return offset == 0 || std::ranges::binary_search(frame_ends, offset);
}

std::uint64_t SimulatedServer::whole_frames(std::uint64_t bytes) const {
  auto after = std::ranges::upper_bound(frame_ends, bytes);
  return after == frame_ends.begin() ? 0 : *std::prev(after);
}

std::string SimulatedServer::describe() const {
  return fmt::format("leg {} of client {}: the server sent {} of {} ({} ready) received {} read {}{}{}{}", leg, client,
                     sent, to_send, ready, received, consumed, accepted ? " accepted" : "", finished ? " finished" : "",
                     fin_received ? " fin-received" : "");
}

}  // namespace cloudbus
