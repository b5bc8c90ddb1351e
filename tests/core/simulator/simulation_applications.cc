// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "core/simulator/simulation.h"

namespace cloudbus {

// --- Events ------------------------------------------------------------------------------------------------------

OneToOneRelay* Simulation::find_side(int e, OwnerId owner) {
  std::uint64_t index = owner - owner_of(e, 0);
  return owner < owner_of(e, 0) || index >= conversations_.size() ? nullptr : &conversations_[index].side(e);
}

void Simulation::on_event(int e, const Event& event) {
  world_.note(static_cast<std::uint64_t>(event.kind) * 31 + event.stream);
  world_.note(event.data.size());
  world_.progress();
  if (event.kind != EventKind::Data || world_.trace)
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
  OneToOneRelay* side = find_side(e, event.owner);
  require(side && side->exists && side->stream == event.stream, "an event for stream {} with owner {}", event.stream,
          event.owner);
  require(!side->over(), "an event of kind {} for stream {} of the {}, which is over", static_cast<int>(event.kind),
          event.stream, name(e));
  OneToOneRelay& other = conversations_[event.owner - owner_of(e, 0)].side(1 - e);
  on_stream_event(e, event, *side, other, conversations_[event.owner - owner_of(e, 0)].key);
}

void Simulation::on_stream_event(int e, const Event& event, OneToOneRelay& side, OneToOneRelay& other,
                                 std::uint64_t key) {
  switch (event.kind) {
    case EventKind::Accepted:
      require(e == 0 && !side.accepted && other.accepted, "ACCEPT in the wrong place");
      return side.on_accepted();
    case EventKind::Data:
      require(!side.receiving_done(), "data for a direction that is done");
      require(!event.data.empty(), "an event without data");
      require(e == 1 || side.accepted, "data before ACCEPT");
      require(side.received + event.data.size() <= other.sent, "more was delivered than was sent");
      require(SimulatedWorld::content().matches(event.data, key + static_cast<unsigned>(e), side.received),
              "other bytes were delivered than were sent, stream {} of the {} at {}", event.stream, name(e),
              side.received);
      delivered_ += event.data.size();
      return side.on_data(event.data);
    case EventKind::Finished:
      require(!side.receiving_done(), "FIN for a direction that is done");
      require(other.finished && side.received == other.sent, "a clean end after {} bytes of {}", side.received,
              other.sent);
      return side.on_finished();
    case EventKind::Stopped:
      require(!side.sending_done(), "STOP for a direction that is done");
      require(other.stopped && event.code == other.stop_code, "STOP that nobody sent");
      return side.on_stopped(event.code);
    case EventKind::Reset:
      if (other.exists) {
        require(other.own_reset && event.code == other.reset_code, "RESET that nobody sent");
        if (!side.stopped) require(side.received == other.sent, "RESET overtook {} bytes", other.sent - side.received);
      } else {
        require(e == 0 && (event.code == StreamCode::Overload || event.code == StreamCode::GoingAway),
                "RESET by nobody");
        require(event.code != StreamCode::GoingAway || draining_, "RESET going-away without a drain");
      }
      return side.on_reset(event.code);
    default: return;
  }
}

void Simulation::on_opened(int e, const Event& event) {
  require(e == 1, "the controller was opened a stream");
  std::size_t index = static_cast<std::size_t>(event.request->priority);
  require(index < conversations_.size(), "OPEN of what was never opened");
  Conversation& conversation = conversations_[index];
  OneToOneRelay& side = conversation.side(1);
  require(!side.exists && conversation.side(0).exists, "OPEN twice");
  require(conversation.side(0).stream == event.stream && event.request->service == service_of(index) &&
              event.request->client == std::string(index, 'c'),
          "OPEN arrived changed");
  appear(1, index, event.stream);
  session(1).adopt(event.stream, side.owner);
  side.application.not_before = world_.now + side.application.pause;
}

void Simulation::appear(int e, std::size_t index, StreamId stream) {
  const Conversation& conversation = conversations_[index];
  conversation.side(e).start(session(e), stream, owner_of(e, index), conversation.key + static_cast<unsigned>(e));
}

// --- Applications ------------------------------------------------------------------------------------------------

bool Simulation::open() {
  if (!both_live() || session(0).is_closed()) return false;
  auto found =
      std::ranges::find_if(conversations_, [](const Conversation& c) { return !c.side(0).exists && !c.given_up; });
  if (found == conversations_.end()) return false;
  if (draining_ && (session(0).peer_going_away() || !session(0).can_open())) return found->given_up = true;
  if (!session(0).can_open()) return false;
  auto index = static_cast<std::size_t>(found - conversations_.begin());
  OpenRequest request{{}, static_cast<std::int8_t>(index), service_of(index), std::string(index, 'c')};
  appear(0, index, session(0).open(request, owner_of(0, index)));
  say("controller opens {} as stream {}", index, found->side(0).stream);
  world_.progress();
  return true;
}

bool Simulation::take_turn(int e) {
  if (session(e).output().size() >= ends_[e]->most_output || session(e).is_closed()) return false;
  check_kept(e);
  auto quantum = session(e).next_quantum();
  if (!quantum) return false;
  OneToOneRelay* side = find_side(e, quantum->owner);
  require(side && side->stream == quantum->stream && !side->over() && !side->sending_done(),
          "a turn of a stream that does not send");
  const Stream* stream = session(e).find(quantum->stream);
  require(quantum->bytes > 0 && quantum->bytes <= stream->credit(), "a turn of {} bytes with credit for {}",
          quantum->bytes, stream->credit());
  bool has_moved = side->fill(*quantum);
  stream = session(e).find(quantum->stream);
  require(has_moved || !stream || !stream->wants, "stream {} of the {} wants turns and uses none", quantum->stream,
          name(e));
  if (has_moved) world_.progress();
  return true;
}

bool Simulation::run_application(int e) {
  std::size_t first = world_.random.below(conversations_.size());
  for (std::size_t i = 0; i < conversations_.size(); i++) {
    std::size_t index = (first + i) % conversations_.size();
    OneToOneRelay& side = conversations_[index].side(e);
    if (!side.exists || side.application.not_before > world_.now || !live(e, side)) continue;
    world_.progress();
    return true;
  }
  return false;
}

bool Simulation::live(int e, OneToOneRelay& side) {
  if (side.is_closed()) {
    if (std::exchange(side.released, true) || e == 0) return false;
    session(1).release();
    return true;
  }
  if (e == 1 && !side.accepted) {
    say("segment {} stream {}", side.refuses ? "refuses" : "accepts", side.stream);
    side.refuses ? side.refuse() : side.accept();
    return true;
  }
  if (side.stalled) side.application.stalled_until = only_stalled_left() ? Time{} : Time::max();
  return side.act();
}

bool Simulation::only_stalled_left() const {
  return std::ranges::all_of(conversations_, [](const Conversation& conversation) {
    bool stalled = conversation.side(0).stalled || conversation.side(1).stalled;
    return stalled ? conversation.side(0).exists || conversation.given_up
                   : is_over(conversation, 0) && is_over(conversation, 1);
  });
}

bool Simulation::repeat_command(int e) {
  if (!world_.random.chance(5)) return false;
  Session& session = this->session(e);
  OneToOneRelay& side = conversations_[world_.random.below(conversations_.size())].side(e);
  StreamId stream = side.exists ? side.stream : 1'000'000;
  bool gone = !side.exists || side.over();
  auto written = session.position_sent();
  switch (world_.random.below(8)) {
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
      if (gone) session.consumed(stream, 10, world_.now);
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
