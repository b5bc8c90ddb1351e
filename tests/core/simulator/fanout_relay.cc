// SPDX-License-Identifier: Apache-2.0
#include "core/simulator/fanout_relay.h"

#include <algorithm>
#include <utility>

#include "core/require.h"

namespace cloudbus {
namespace {

constexpr int kMostParts = 3;

}  // namespace

FanoutRelay::FanoutRelay(Host& host, FanoutWorld& world, SimulatedApplication& client, std::size_t index,
                         const Plan& plan, Budget& budget)
    : SimulatedRelay(world, client, Flow::Side::Client, budget),
      host_(host),
      index_(index),
      connect_timeout_(plan.connect_timeout),
      started_(world.now),
      fanout_(plan.mode, plan.limits, plan.order, FanoutWorld::slabs(), budget),
      rules_(plan.mode, plan.limits, plan.order.size()) {
  if (plan.limits.quorum <= 1) stage_ = Stage::Opening;
}

std::uint64_t FanoutRelay::buffered() const {
  std::uint64_t bytes = fanout_.kept() + flow_.pending();
  for (LegId leg = 0; leg < fanout_.leg_count(); leg++) bytes += fanout_.leg(leg).held.size();
  return bytes;
}

// --- The legs ----------------------------------------------------------------------------------------------------

void FanoutRelay::open_leg_on(LegId leg, LinkId link, Session& session) {
  streams_.at(leg) = {link, session.open({{}, 0, fmt::format("{} {}", index_, leg), ""}, leg_owner(owner(), leg))};
  rules_.on_stream(leg);
  fanout_.on_opened(leg);
  step();
}

Session* FanoutRelay::session_of(LegId leg) {
  const LegStream& stream = streams_.at(leg);
  return stream.id == 0 ? nullptr : host_.find_session(stream.link);
}

void FanoutRelay::run_commands() {
  while (auto command = fanout_.next_command()) run_command(*command);
}

void FanoutRelay::run_command(const Fanout::Command& command) {
  using Kind = Fanout::Command::Kind;
  if (command.kind == Kind::Open) {
    ServerIndex server = fanout_.leg(command.leg).server;
    rules_.on_begun(command.leg, server);
    streams_.resize(command.leg + 1);
    say("leg {} to server {}", command.leg, server);
    return host_.open_leg(*this, command.leg, server);
  }
  Session* session = session_of(command.leg);
  StreamId stream = streams_.at(command.leg).id;
  switch (command.kind) {
    case Kind::Open: return;
    case Kind::Want:
      if (session) session->want(stream);
      return;
    case Kind::Finish:
      say("finishes leg {}", command.leg);
      rules_.on_finished(command.leg);
      if (session) session->finish(stream);
      return;
    case Kind::Stop:
      say("stops leg {}", command.leg);
      rules_.on_muted(command.leg);
      if (session) session->stop(stream, command.code);
      return;
    case Kind::Reset:
      say("resets leg {} with {}", command.leg, name_of(command.code));
      rules_.on_dropped(command.leg, command.code);
      if (session) session->reset(stream, command.code);
      streams_[command.leg].id = 0;
      return;
  }
}

// What follows from what happened to the legs, for them and for the client.
void FanoutRelay::step() {
  if (stage_ == Stage::Closed || std::exchange(is_stepping_, true)) return;
  run_commands();
  if (fanout_.is_open() && stage_ != Stage::Open) {
    stage_ = Stage::Open;
    write_pending();
  }
  for (auto held = fanout_.release(); held && stage_ != Stage::Closed; held = fanout_.release())
    deliver_held(held->leg, held->bytes);
  if (fanout_.answer() == Fanout::Answer::Broken) {
    if (!std::exchange(has_told_break_, true)) {
      rules_.on_told_break(fanout_.code());
      break_off(fanout_.code());
    }
  } else {
    if (flow_.reads() && fanout_.is_stopped()) {
      rules_.on_told_stop(fanout_.code());
      stop_reading(fanout_.code());
    }
    if (fanout_.answer() == Fanout::Answer::Finished && !std::exchange(has_told_end_, true)) {
      rules_.on_told_fin();
      end_delivery();
    }
  }
  settle();
  is_stepping_ = false;
}

void FanoutRelay::on_accepted(LegId leg) {
  if (is_closed()) return;
  rules_.on_accepted(leg);
  fanout_.on_accepted(leg);
  step();
}

void FanoutRelay::on_finished(LegId leg) {
  if (is_closed()) return;
  rules_.on_fin(leg);
  fanout_.on_finished(leg);
  step();
}

void FanoutRelay::on_stopped(LegId leg, StreamCode code) {
  if (is_closed()) return;
  rules_.on_stopped(leg);
  fanout_.on_stopped(leg, code);
  step();
}

void FanoutRelay::on_reset(LegId leg, StreamCode code) {
  if (is_closed()) return;
  say("leg {} is lost: {}", leg, name_of(code));
  streams_.at(leg).id = 0;
  LegId before = fanout_.leg_count();
  bool is_replaced = rules_.on_lost(leg, code, fanout_.kept() == rules_.read());
  fanout_.on_failed(leg, code);
  require(fanout_.leg_count() == before + is_replaced, "leg {} is {}replaced", leg, is_replaced ? "not " : "");
  step();
}

// --- Answers -----------------------------------------------------------------------------------------------------

void FanoutRelay::on_data(LegId leg, iovec* parts, int count, std::size_t size, std::size_t part) {
  if (is_closed()) return;
  rules_.on_arrived(leg, size);
  auto [deliver, hold] = fanout_.on_data(leg, size, part);
  require(deliver + hold <= size && count > 0, "{} bytes of {} are to be delivered, {} held", deliver, size, hold);
  is_stepping_ = true;  // a client that turns out to read no more is looked at when this is done
  run_commands();
  int first = 0;
  for (std::size_t bytes = 0; bytes < deliver; first++) bytes += parts[first].iov_len;
  if (deliver > 0) {
    deliver_held(leg, fanout_.leg(leg).held.size());
    if (is_closed()) return;
    deliver_from(leg, parts, first, deliver);
    if (is_closed()) return;
  }
  for (std::size_t left = hold; left > 0; first++) {
    Bytes bytes(static_cast<const std::byte*>(parts[first].iov_base), parts[first].iov_len);
    require(bytes.size() <= left, "a part of {} bytes where {} are to be held", bytes.size(), left);
    fanout_.hold(leg, bytes, left <= part);
    left -= bytes.size();
  }
  if (std::size_t rest = size - deliver - hold; rest > 0) {
    rules_.on_credited(leg, rest);
    if (Session* session = session_of(leg)) session->consumed(streams_[leg].id, rest, world_.now);
  }
  is_stepping_ = false;
  step();
}

void FanoutRelay::deliver_from(LegId leg, iovec* parts, int count, std::size_t size) {
  std::uint64_t offset = rules_.leg(leg).delivered;
  for (int i = 0; i < count; i++) {
    Bytes bytes(static_cast<const std::byte*>(parts[i].iov_base), parts[i].iov_len);
    require(is_answer(leg, offset, bytes), "other bytes of leg {} than were sent, at {}", leg, offset);
    offset += bytes.size();
  }
  require(offset == rules_.leg(leg).delivered + size, "{} bytes are not {}", size, offset);
  expected_.push_back({leg, rules_.leg(leg).delivered, size});
  rules_.on_delivered(leg, size);
  if (delivered_.empty() || delivered_.back().first != leg) delivered_.emplace_back(leg, 0);
  delivered_.back().second += size;
  deliver(parts, count, size);
}

void FanoutRelay::deliver_held(LegId leg, std::size_t bytes) {
  while (bytes > 0) {
    iovec parts[kMostParts];
    int count = fanout_.leg(leg).held.gather(parts, kMostParts);
    require(count > 0, "leg {} is to hold {} bytes, and holds none", leg, bytes);
    std::size_t size = 0;
    int used = 0;
    for (; used < count && size < bytes; used++) {
      parts[used].iov_len = std::min(parts[used].iov_len, bytes - size);
      size += parts[used].iov_len;
    }
    deliver_from(leg, parts, used, size);
    if (is_closed()) return;  // the client broke, and nothing is held any more
    fanout_.take_held(leg, size);
    bytes -= size;
  }
}

void FanoutRelay::give_credit(std::size_t bytes) {
  while (bytes > 0) {
    require(!delivered_.empty(), "credit for {} bytes that were not delivered", bytes);
    auto& [leg, due] = delivered_.front();
    std::size_t part = std::min(bytes, due);
    rules_.on_credited(leg, part);
    if (Session* session = session_of(leg)) session->consumed(streams_[leg].id, part, world_.now);
    bytes -= part;
    due -= part;
    if (due == 0) delivered_.pop_front();
  }
}

// --- The client's bytes ------------------------------------------------------------------------------------------

void FanoutRelay::want() {
  for (LegId leg = 0; leg < fanout_.leg_count(); leg++)
    if (fanout_.may_read(leg) > 0)
      if (Session* session = session_of(leg)) session->want(streams_[leg].id);
}

bool FanoutRelay::fill(Session& session, const Session::Quantum& quantum, LegId leg) {
  if (is_closed()) return session.fill_done(quantum.stream, 0, false), true;
  require(quantum.stream == streams_.at(leg).id, "a turn of stream {} for leg {}", quantum.stream, leg);
  if (fanout_.is_direct(leg)) return fill_directly(session, quantum, leg);
  std::optional<Io> read;
  std::size_t moved = 0, room = world_.random.chance(50) ? quantum.bytes : world_.random.size(quantum.bytes);
  if (std::size_t most = fanout_.may_read(leg); most > 0 && flow_.is_readable() && can_read()) {
    iovec place = fanout_.reserve(std::min(room, most));
    Result result = read_some(&place, 1, place.iov_len);
    fanout_.commit(leg, result.bytes);
    read = result.status;
    moved += result.bytes;
  }
  for (std::size_t left = room; left > 0 && fanout_.unsent(leg) > 0;) {
    Slice piece = fanout_.piece(leg);
    piece.size = std::min(piece.size, left);
    require(piece.size > 0, "a piece of no bytes for leg {}", leg);
    session.share(quantum, piece);
    rules_.on_sent(leg, piece.size);
    bool pressed = budget_.pressed();
    fanout_.on_sent(leg, piece.size, world_.now);
    rules_.check_lag(fanout_, pressed);
    left -= piece.size;
    moved += piece.size;
  }
  bool may_read = flow_.is_readable() && can_read() && fanout_.may_read(leg) > 0;
  session.fill_done(quantum.stream, 0, fanout_.unsent(leg) > 0 || may_read);
  if (read) after_read(*read);
  step();
  return moved > 0 || (read && *read != Io::Again);
}

bool FanoutRelay::fill_directly(Session& session, const Session::Quantum& quantum, LegId leg) {
  if (!can_read()) return session.fill_done(quantum.stream, 0, false), false;
  Output::Room room =
      session.reserve(quantum, world_.random.chance(50) ? quantum.bytes : world_.random.size(quantum.bytes));
  Result result = read_some(room.parts.data(), room.count, room.size);
  if (result.bytes > 0) rules_.on_sent(leg, result.bytes);
  session.fill_done(quantum.stream, result.bytes, flow_.is_readable());
  after_read(result.status);
  step();
  return result.status != Io::Again;
}

// --- The client's socket, and its end ----------------------------------------------------------------------------

bool FanoutRelay::is_answer(LegId leg, std::uint64_t offset, Bytes bytes) const {
  const SimulatedServer* server = rules_.leg(leg).reached;
  return server && offset + bytes.size() <= server->sent &&
         FanoutWorld::content().matches(bytes, server->application.key, offset);
}

void FanoutRelay::on_taken(Bytes bytes) {
  while (!bytes.empty()) {
    require(!expected_.empty(), "{} bytes for the client that nobody delivered", bytes.size());
    Piece& piece = expected_.front();
    Bytes part = bytes.first(std::min(bytes.size(), piece.size));
    require(is_answer(piece.leg, piece.offset, part), "the client gets other bytes than leg {} at {}", piece.leg,
            piece.offset);
    bytes = bytes.subspan(part.size());
    piece.offset += part.size();
    piece.size -= part.size();
    if (piece.size == 0) expected_.pop_front();
  }
}

void FanoutRelay::finish_stream() {
  rules_.on_client_fin();
  fanout_.finish();
  step();
}

void FanoutRelay::stop_stream(StreamCode code) {
  rules_.on_client_deaf();
  fanout_.stop_answers(code);
  run_commands();
  step();
}

void FanoutRelay::reset_stream(StreamCode code) {
  rules_.on_abandoned();
  fanout_.abandon(code);
  run_commands();
}

void FanoutRelay::on_close() {
  require(application_.was_reset || fanout_.is_over(), "a clean end, but a leg goes on");
  reset_stream(StreamCode::Cancelled);
  rules_.check_end();
  require(application_.was_reset || expected_.empty(), "a clean end, but the client has not got all");
}

// --- Time --------------------------------------------------------------------------------------------------------

Time FanoutRelay::next_deadline() const {
  if (is_closed()) return Time::max();
  bool is_opening = stage_ != Stage::Open || fanout_.is_opening();
  Time deadline = std::min(SimulatedRelay::next_deadline(), fanout_.next_deadline());
  return is_opening ? std::min(deadline, started_ + connect_timeout_) : deadline;
}

void FanoutRelay::on_time() {
  Time now = world_.now;
  SimulatedRelay::on_time();
  if (is_closed() || now < next_deadline()) return;
  bool is_late = now >= started_ + connect_timeout_ && fanout_.is_opening();
  if (is_late) {
    say("has waited long enough for its legs");
    rules_.on_connect_timeout();
    fanout_.on_connect_timeout();
  }
  fanout_.on_time(now);
  step();
  require(is_closed() || stage_ == Stage::Open || !is_late, "nothing was opened in time, and it goes on");
  require(next_deadline() > now, "a deadline that has passed was looked at");
}

void FanoutRelay::check() {
  if (is_closed()) return;
  queued_.assign(fanout_.leg_count(), 0);
  for (auto& [leg, bytes] : delivered_) queued_[leg] += bytes;
  rules_.check(fanout_, queued_, world_.now);
  check_credit();
  require((fanout_.answer() == Fanout::Answer::Broken) == has_told_break_, "the client was not told of the break");
  require(fanout_.answer() == Fanout::Answer::Broken || (fanout_.answer() == Fanout::Answer::Finished) == has_told_end_,
          "the client was not told of the end");
}

}  // namespace cloudbus
