// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/simulator/simulation.h"

namespace cloudbus {

// --- Events ------------------------------------------------------------------------------------------------------

Side* Simulation::find_side(int e, OwnerId owner) {
  std::uint64_t index = owner - owner_of(e, 0);
  return owner < owner_of(e, 0) || index >= conversations_.size() ? nullptr : &conversations_[index].sides[e];
}

void Simulation::on_event(int e, const Event& event) {
  note(static_cast<std::uint64_t>(event.kind) * 31 + event.stream);
  note(event.data.size());
  progress();
  if (event.kind != EventKind::Data || trace_)
    say("{} <- {} stream {} {} bytes", name(e), static_cast<int>(event.kind), event.stream, event.data.size());
  if (event.kind == EventKind::Established)
    return require(!was_established_[e], "ready twice"), void(was_established_[e] = true);
  require(was_established_[e] || event.kind == EventKind::Closed, "an event before ready");
  switch (event.kind) {
    case EventKind::Opened: return on_opened(e, event);
    case EventKind::MoreStreams: return require(e == 0, "more streams for a segment");
    case EventKind::GoingAway: return require(draining_, "GOAWAY, but nobody drains");
    case EventKind::Established:
    case EventKind::Closed: return;
    default: break;
  }
  Side* side = find_side(e, event.owner);
  require(side && side->exists && side->stream == event.stream, "an event for stream {} with owner {}", event.stream,
          event.owner);
  require(!side->over(), "an event of kind {} for stream {} of the {}, which is over", static_cast<int>(event.kind),
          event.stream, name(e));
  Side& other = conversations_[event.owner - owner_of(e, 0)].sides[1 - e];
  on_stream_event(e, event, *side, other, conversations_[event.owner - owner_of(e, 0)].key);
}

void Simulation::on_stream_event(int e, const Event& event, Side& side, Side& other, std::uint64_t key) {
  switch (event.kind) {
    case EventKind::Accepted:
      require(e == 0 && !side.accepted && other.accepted, "ACCEPT in the wrong place");
      side.accepted = true;
      return;
    case EventKind::Data:
      require(!side.receiving_done(), "data for a direction that is done");
      require(!event.data.empty(), "an event without data");
      require(e == 1 || side.accepted, "data before ACCEPT");
      require(side.received + event.data.size() <= other.sent, "more was delivered than was sent");
      require(content().matches(event.data, key + static_cast<unsigned>(e), side.received),
              "other bytes were delivered than were sent, stream {} of the {} at {}", event.stream, name(e),
              side.received);
      side.received += event.data.size();
      delivered_ += event.data.size();
      side.pending->push(event.data, ends_[e]->budget);
      return;
    case EventKind::Finished:
      require(!side.receiving_done(), "FIN for a direction that is done");
      require(other.finished && side.received == other.sent, "a clean end after {} bytes of {}", side.received,
              other.sent);
      side.fin_received = true;
      return;
    case EventKind::Stopped:
      require(!side.sending_done(), "STOP for a direction that is done");
      require(other.stopped && event.code == other.code, "STOP that nobody sent");
      side.stopped_by_peer = true;
      side.ready = 0;
      return;
    case EventKind::Reset:
      if (other.exists) {
        require(other.own_reset && event.code == other.code, "RESET that nobody sent");
        if (!side.stopped) require(side.received == other.sent, "RESET overtook {} bytes", other.sent - side.received);
      } else {
        require(e == 0 && (event.code == StreamCode::Overload || event.code == StreamCode::GoingAway),
                "RESET by nobody");
        require(event.code != StreamCode::GoingAway || draining_, "RESET going-away without a drain");
      }
      side.was_reset = true;
      return;
    default: return;
  }
}

void Simulation::on_opened(int e, const Event& event) {
  require(e == 1, "the controller was opened a stream");
  std::size_t index = static_cast<std::size_t>(event.request->priority);
  require(index < conversations_.size(), "OPEN of what was never opened");
  Conversation& conversation = conversations_[index];
  Side& side = conversation.sides[1];
  require(!side.exists && conversation.sides[0].exists, "OPEN twice");
  require(conversation.sides[0].stream == event.stream && event.request->service == service_of(index) &&
              event.request->client == std::string(index, 'c'),
          "OPEN arrived changed");
  appear(1, index, event.stream);
  session(1).adopt(event.stream, side.owner);
  side.not_before = now_ + side.pause;
}

void Simulation::appear(int e, std::size_t index, StreamId stream) {
  Side& side = conversations_[index].sides[e];
  side.exists = true;
  side.stream = stream;
  side.owner = owner_of(e, index);
  side.pending = std::make_unique<ByteQueue>();
}

// --- Applications ------------------------------------------------------------------------------------------------

bool Simulation::open() {
  if (!both_live() || session(0).is_closed()) return false;
  auto found =
      std::ranges::find_if(conversations_, [](const Conversation& c) { return !c.sides[0].exists && !c.given_up; });
  if (found == conversations_.end()) return false;
  if (draining_ && (session(0).peer_going_away() || !session(0).can_open())) return found->given_up = true;
  if (!session(0).can_open()) return false;
  auto index = static_cast<std::size_t>(found - conversations_.begin());
  OpenRequest request{{}, static_cast<std::int8_t>(index), service_of(index), std::string(index, 'c')};
  appear(0, index, session(0).open(request, owner_of(0, index)));
  say("controller opens {} as stream {}", index, found->sides[0].stream);
  progress();
  return true;
}

bool Simulation::take_turn(int e) {
  if (session(e).output().size() >= ends_[e]->most_output || session(e).is_closed()) return false;
  check_kept(e);
  auto quantum = session(e).next_quantum();
  if (!quantum) return false;
  Side* side = find_side(e, quantum->owner);
  require(side && side->stream == quantum->stream && !side->over() && !side->sending_done(),
          "a turn of a stream that does not send");
  const Stream* stream = session(e).find(quantum->stream);
  require(quantum->bytes > 0 && quantum->bytes <= stream->credit(), "a turn of {} bytes with credit for {}",
          quantum->bytes, stream->credit());
  std::size_t asked = random_.size(quantum->bytes);
  Output::Room room = session(e).reserve(*quantum, asked);
  require(room.size > 0 && room.size <= asked, "room for {} bytes instead of {}", room.size, asked);
  asked = room.size;
  std::size_t filled = std::min<std::size_t>(side->ready, random_.chance(50) ? asked : random_.size(asked));
  std::uint64_t key = conversations_[quantum->owner - owner_of(e, 0)].key + static_cast<unsigned>(1 - e);
  std::size_t done = 0;
  for (int i = 0; i < room.count && done < filled; i++) {
    std::size_t part = std::min(filled - done, room.parts[i].iov_len);
    content().fill(static_cast<std::byte*>(room.parts[i].iov_base), part, key, side->sent + done);
    done += part;
  }
  require(done == filled, "room for {} bytes of {}", done, asked);
  side->sent += filled;
  side->ready -= filled;
  session(e).fill_done(quantum->stream, filled, side->ready > 0 || (filled > 0 && random_.chance(50)));
  if (filled > 0) progress();
  return true;
}

bool Simulation::run_application(int e) {
  std::size_t first = random_.below(conversations_.size());
  for (std::size_t i = 0; i < conversations_.size(); i++) {
    std::size_t index = (first + i) % conversations_.size();
    Side& side = conversations_[index].sides[e];
    if (!side.exists || side.not_before > now_ || !live(e, side)) continue;
    progress();
    return true;
  }
  return false;
}

bool Simulation::live(int e, Side& side) {
  if (e == 1 && !side.accepted && !side.over()) return answer(side);
  if (side.over()) return wind_up(e, side);
  if (side.sent + side.received >= side.reset_after) return reset(e, side), true;
  if (!side.receiving_done() && side.consumed >= side.stop_after) {
    say("{} stops stream {}", name(e), side.stream);
    side.stopped = true;
    session(e).stop(side.stream, side.code);
    return true;
  }
  if (random_.chance(50) && read(e, side)) return true;
  return write(e, side) || read(e, side);
}

bool Simulation::answer(Side& side) {
  if (side.refuses) return reset(1, side), true;
  say("segment accepts stream {}", side.stream);
  side.accepted = true;
  session(1).accept(side.stream);
  return true;
}

void Simulation::reset(int e, Side& side) {
  say("{} resets stream {} with {}", name(e), side.stream, name_of(side.code));
  side.own_reset = true;
  session(e).reset(side.stream, side.code);
}

bool Simulation::only_stalled_left() const {
  return std::ranges::all_of(conversations_, [](const Conversation& conversation) {
    bool stalled = conversation.sides[0].stalled || conversation.sides[1].stalled;
    return stalled ? conversation.sides[0].exists || conversation.given_up
                   : is_over(conversation, 0) && is_over(conversation, 1);
  });
}

bool Simulation::read(int e, Side& side) {
  if (side.pending->empty() || !may_read(side)) return false;
  std::size_t part = random_.size(side.pending->size());
  if (random_.chance(30)) part = side.pending->size();
  take_pending(e, side, part);
  if (random_.chance(20)) side.not_before = now_ + side.pause;
  return true;
}

void Simulation::take_pending(int e, Side& side, std::size_t bytes) {
  bool pressed = ends_[e]->budget.pressed();
  side.pending->pop(bytes);
  pressed = pressed && ends_[e]->budget.pressed();
  side.consumed += bytes;
  const Stream* stream = session(e).find(side.stream);
  std::uint64_t limit = stream ? stream->window.limit() : 0;
  session(e).consumed(side.stream, bytes, now_);
  if (!stream || !pressed || stream->window.limit() == limit) return;
  require(stream->window.limit() <= side.consumed + ReceiveWindow::kFloor, "credit of {} ahead under pressure",
          stream->window.limit() - side.consumed);
}

bool Simulation::write(int e, Side& side) {
  bool waits = (side.waits_for_fin && !side.receiving_done()) ||
               (side.waits_for_bytes && side.received == 0 && !side.receiving_done());
  if (side.sending_done() || waits) return false;
  if (side.sent == side.to_send) {
    say("{} finishes stream {} at {}", name(e), side.stream, side.sent);
    side.finished = true;
    session(e).finish(side.stream);
    return true;
  }
  if (side.ready > 0) return false;
  side.ready = std::min(random_.size(side.burst), side.to_send - side.sent);
  session(e).want(side.stream);
  if (random_.chance(20)) side.not_before = now_ + side.pause;
  return true;
}

bool Simulation::wind_up(int e, Side& side) {
  if (!side.pending->empty()) {
    if (side.stalled && !may_read(side) && !side.was_reset && !side.own_reset) return false;
    take_pending(e, side, side.was_reset ? side.pending->size() : random_.size(side.pending->size()));
    return true;
  }
  if (side.released) return false;
  side.released = true;
  if (e == 1) session(1).release();
  return e == 1;
}

bool Simulation::repeat_command(int e) {
  if (!random_.chance(5)) return false;
  Session& session = this->session(e);
  Side& side = conversations_[random_.below(conversations_.size())].sides[e];
  StreamId stream = side.exists ? side.stream : 1'000'000;
  bool gone = !side.exists || side.over();
  auto written = session.position_sent();
  switch (random_.below(8)) {
    case 0:
      if (gone) session.reset(stream, StreamCode::Cancelled);
      break;
    case 1:
      if (gone || side.receiving_done()) session.stop(stream, StreamCode::Cancelled);
      break;
    case 2:
      if (gone || side.sending_done()) session.finish(stream);
      break;
    case 3:
      if (gone) session.consumed(stream, 10, now_);
      break;
    case 4:
      if (gone || side.sending_done()) session.want(stream);
      break;
    case 5:
      if (gone || side.accepted) {
        if (e == 1) session.accept(stream);
      }
      break;
    case 6:
      if (gone) session.fill_done(stream, 0, true);
      break;
    case 7:
      if (gone) session.adopt(stream, 7);
      break;
  }
  require(session.position_sent() == written, "a command for a stream that is over wrote something");
  return false;
}

}  // namespace cloudbus
