// SPDX-License-Identifier: Apache-2.0
#include "core/simulator/simulated_relay.h"

#include <algorithm>
#include <utility>

#include "core/require.h"

namespace cloudbus {
namespace {

constexpr int kMostParts = 3;

}  // namespace

SimulatedRelay::SimulatedRelay(Host& host, FanoutWorld& world, SimulatedClient& client, const Plan& plan,
                               Budget& budget)
    : host_(host),
      world_(world),
      client_(client),
      budget_(budget),
      connect_timeout_(plan.connect_timeout),
      started_(world.now),
      fanout_(plan.mode, plan.limits, plan.order, FanoutWorld::slabs(), budget),
      rules_(plan.mode, plan.limits, plan.order.size()) {
  if (plan.limits.quorum <= 1) stage_ = Stage::Opening;
}

std::uint64_t SimulatedRelay::buffered() const {
  std::uint64_t bytes = fanout_.kept() + pending_.size();
  for (LegId leg = 0; leg < fanout_.leg_count(); leg++) bytes += fanout_.leg(leg).held.size();
  return bytes;
}

// --- The legs ----------------------------------------------------------------------------------------------------

void SimulatedRelay::open_leg_on(LegId leg, LinkId link, Session& session) {
  streams_.at(leg) = {link,
                      session.open({{}, 0, fmt::format("{} {}", client_.index, leg), ""}, leg_owner(owner(), leg))};
  rules_.on_stream(leg);
  fanout_.on_opened(leg);
  step();
}

Session* SimulatedRelay::session_of(LegId leg) {
  const LegStream& stream = streams_.at(leg);
  return stream.id == 0 ? nullptr : host_.find_session(stream.link);
}

void SimulatedRelay::run_commands() {
  while (auto command = fanout_.next_command()) run(*command);
}

void SimulatedRelay::run(const Fanout::Command& command) {
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
void SimulatedRelay::step() {
  if (stage_ == Stage::Closed || std::exchange(is_stepping_, true)) return;
  run_commands();
  if (fanout_.is_open() && stage_ != Stage::Open) stage_ = Stage::Open;
  for (auto held = fanout_.release(); held && stage_ != Stage::Closed; held = fanout_.release())
    deliver_held(held->leg, held->bytes);
  if (fanout_.answer() == Fanout::Answer::Broken) {
    if (!std::exchange(has_told_break_, true)) break_off();
  } else {
    if (!read_done_ && fanout_.is_stopped()) stop_reading();
    if (fanout_.answer() == Fanout::Answer::Finished && !std::exchange(has_told_end_, true)) end_delivery();
  }
  close_if_done();
  is_stepping_ = false;
}

void SimulatedRelay::on_accepted(LegId leg) {
  if (is_closed()) return;
  rules_.on_accepted(leg);
  fanout_.on_accepted(leg);
  step();
}

void SimulatedRelay::on_finished(LegId leg) {
  if (is_closed()) return;
  rules_.on_fin(leg);
  fanout_.on_finished(leg);
  step();
}

void SimulatedRelay::on_stopped(LegId leg, StreamCode code) {
  if (is_closed()) return;
  rules_.on_stopped(leg);
  fanout_.on_stopped(leg, code);
  step();
}

void SimulatedRelay::on_reset(LegId leg, StreamCode code) {
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

void SimulatedRelay::on_data(LegId leg, iovec* parts, int count, std::size_t size, std::size_t part) {
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

void SimulatedRelay::deliver_from(LegId leg, iovec* parts, int count, std::size_t size) {
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

void SimulatedRelay::deliver_held(LegId leg, std::size_t bytes) {
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

void SimulatedRelay::give_credit(std::size_t bytes) {
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

void SimulatedRelay::want() {
  for (LegId leg = 0; leg < fanout_.leg_count(); leg++)
    if (fanout_.may_read(leg) > 0)
      if (Session* session = session_of(leg)) session->want(streams_[leg].id);
}

bool SimulatedRelay::fill(Session& session, const Session::Quantum& quantum, LegId leg) {
  if (is_closed()) return session.fill_done(quantum.stream, 0, false), true;
  require(quantum.stream == streams_.at(leg).id, "a turn of stream {} for leg {}", quantum.stream, leg);
  if (fanout_.is_direct(leg)) return fill_directly(session, quantum, leg);
  std::optional<Io> read;
  std::size_t moved = 0, room = world_.random.chance(50) ? quantum.bytes : world_.random.size(quantum.bytes);
  if (std::size_t most = fanout_.may_read(leg); most > 0 && readable_ && can_read()) {
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
  bool may_read = readable_ && can_read() && fanout_.may_read(leg) > 0;
  session.fill_done(quantum.stream, 0, fanout_.unsent(leg) > 0 || may_read);
  if (read) after_read(*read);
  step();
  return moved > 0 || (read && *read != Io::Again);
}

bool SimulatedRelay::fill_directly(Session& session, const Session::Quantum& quantum, LegId leg) {
  if (!can_read()) return session.fill_done(quantum.stream, 0, false), false;
  Output::Room room =
      session.reserve(quantum, world_.random.chance(50) ? quantum.bytes : world_.random.size(quantum.bytes));
  Result result = read_some(room.parts.data(), room.count, room.size);
  if (result.bytes > 0) rules_.on_sent(leg, result.bytes);
  session.fill_done(quantum.stream, result.bytes, readable_);
  after_read(result.status);
  step();
  return result.status != Io::Again;
}

// --- The client's socket -----------------------------------------------------------------------------------------

SimulatedRelay::Result SimulatedRelay::read_some(iovec* parts, int count, std::size_t size) {
  std::size_t left = std::min<std::size_t>(size, client_.sent - client_.taken), bytes = left;
  readable_ = false;
  if (bytes == 0) return {client_.has_reset ? Io::Broken : client_.fin_sent ? Io::End : Io::Again};
  for (int i = 0; i < count && left > 0; i++) {
    std::size_t part = std::min(left, parts[i].iov_len);
    FanoutWorld::content().fill(static_cast<std::byte*>(parts[i].iov_base), part, client_.key, client_.taken);
    client_.taken += part;
    left -= part;
  }
  require(left == 0, "no room for {} bytes of {}", left, size);
  rules_.on_read(bytes);
  readable_ = bytes == size || client_.fin_sent || client_.has_reset;
  return {Io::Done, bytes};
}

void SimulatedRelay::after_read(Io status) {
  if (is_closed()) return;
  if (status == Io::Broken) return abort(StreamCode::ClientReset);
  if (status != Io::End) return;
  say("read the client's FIN");
  read_done_ = true;
  rules_.on_client_fin();
  fanout_.finish();
  step();
  close_if_done();
}

void SimulatedRelay::stop_reading() {
  say("reads no more of the client");
  rules_.on_told_stop(fanout_.code());
  has_end_code_ = cut_ = read_done_ = true;
  close_if_done();
}

bool SimulatedRelay::is_answer(LegId leg, std::uint64_t offset, Bytes bytes) const {
  const SimulatedServer* server = rules_.leg(leg).reached;
  return server && offset + bytes.size() <= server->sent && FanoutWorld::content().matches(bytes, server->key, offset);
}

// The bytes that the socket takes are those that it is to get next.
void SimulatedRelay::look(Bytes bytes) {
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

SimulatedRelay::Result SimulatedRelay::write(const iovec* parts, int count) {
  require(!client_.fin_received && !client_.was_reset, "bytes after the end");
  if (client_.has_reset) return {Io::Broken};
  if (client_.is_deaf) return {Io::Deaf};
  std::size_t bytes = 0;
  for (int i = 0; i < count && client_.space() > 0; i++) {
    std::size_t part = std::min(parts[i].iov_len, client_.space());
    look({static_cast<const std::byte*>(parts[i].iov_base), part});
    client_.received += part;
    bytes += part;
  }
  return bytes == 0 ? Result{Io::Again} : Result{Io::Done, bytes};
}

void SimulatedRelay::deliver(iovec* parts, int count, std::size_t size) {
  if (is_closed()) return;
  if (write_done_ || broken_) return give_credit(size);
  if (pending_.empty() && writable_ && stage_ == Stage::Open) return write_now(parts, count, size);
  for (int i = 0; i < count; i++)
    pending_.push({static_cast<const std::byte*>(parts[i].iov_base), parts[i].iov_len}, budget_);
}

void SimulatedRelay::write_now(iovec* parts, int count, std::size_t size) {
  Result result = write(parts, count);
  if (result.status == Io::Broken || result.status == Io::Deaf) {
    on_write_failed(result.status);
    return give_credit(size);
  }
  give_credit(result.bytes);
  if (result.bytes == size) return;
  writable_ = false;
  std::size_t skip = result.bytes;
  for (int i = 0; i < count; i++) {
    std::size_t taken = std::min(skip, parts[i].iov_len);
    skip -= taken;
    pending_.push(Bytes(static_cast<const std::byte*>(parts[i].iov_base), parts[i].iov_len).subspan(taken), budget_);
  }
}

void SimulatedRelay::write_pending() {
  while (!pending_.empty() && !is_closed()) {
    iovec parts[kMostParts];
    Result result = write(parts, pending_.gather(parts, kMostParts));
    if (result.status == Io::Again) return void(writable_ = false);
    if (result.status != Io::Done) return on_write_failed(result.status);
    pending_.pop(result.bytes);
    give_credit(result.bytes);
  }
  finish_if_drained();
}

void SimulatedRelay::drop_pending() {
  std::size_t bytes = pending_.size();
  pending_.pop(bytes);
  give_credit(bytes);
}

void SimulatedRelay::on_write_failed(Io status) {
  drop_pending();
  if (reset_pending_) return close_with_reset();
  if (status == Io::Deaf && !read_done_) {
    say("finds that the client reads no more");
    write_done_ = cut_ = has_end_code_ = true;
    rules_.on_client_deaf();
    fanout_.stop_answers(StreamCode::ClientReset);
    run_commands();
    return step();
  }
  if (read_done_) return abort(StreamCode::ClientReset);
  broken_ = true;
  want();
}

void SimulatedRelay::end_delivery() {
  if (is_closed()) return;
  say("has all answers");
  rules_.on_told_fin();
  fin_received_ = true;
  finish_if_drained();
}

void SimulatedRelay::finish_if_drained() {
  if (!pending_.empty() || stage_ != Stage::Open) return;
  if (reset_pending_) return reset_if_drained();
  if (!fin_received_ || write_done_) return;
  write_done_ = true;
  if (!broken_) client_.fin_received = true;
  close_if_done();
}

void SimulatedRelay::break_off() {
  if (is_closed()) return;
  say("breaks off: {}", name_of(fanout_.code()));
  rules_.on_told_break(fanout_.code());
  has_end_code_ = true;
  if (stage_ != Stage::Open) return close_with_reset();
  reset_pending_ = read_done_ = true;
  reset_if_drained();
}

void SimulatedRelay::reset_if_drained() {
  if (pending_.empty()) close_with_reset();
}

// --- The end, and time -------------------------------------------------------------------------------------------

void SimulatedRelay::abandon(StreamCode code) {
  rules_.on_abandoned();
  fanout_.abandon(code);
  run_commands();
}

void SimulatedRelay::abort(StreamCode code) {
  if (is_closed()) return;
  say("gives up: {}", name_of(code));
  abandon(code);
  close_with_reset();
}

void SimulatedRelay::close_if_done() {
  if (stage_ != Stage::Open || !read_done_ || !write_done_ || !fanout_.is_over()) return;
  if (has_end_code_) {
    reset_pending_ = true;
    return reset_if_drained();
  }
  close();
}

void SimulatedRelay::close_with_reset() {
  if (is_closed()) return;
  client_.was_reset = true;
  close();
}

void SimulatedRelay::close() {
  if (is_closed()) return;
  say("is closed");
  abandon(StreamCode::Cancelled);
  stage_ = Stage::Closed;
  rules_.check_end();
  require(client_.was_reset || expected_.empty(), "a clean end, but the client has not got all");
}

void SimulatedRelay::on_client_wrote() {
  if (is_closed()) return;
  readable_ = true;
  if (!read_done_) want();
}

void SimulatedRelay::on_client_read() {
  if (is_closed() || stage_ != Stage::Open) return;
  writable_ = true;
  write_pending();
}

void SimulatedRelay::on_client_reset() {
  if (is_closed()) return;
  if ((readable_ || read_done_) && !broken_) {
    if (stage_ == Stage::Waiting) return abort(StreamCode::ClientReset);
    on_write_failed(Io::Broken);
    if (is_closed()) return;
  }
  readable_ = true;
  if (!read_done_) want();
}

Time SimulatedRelay::next_deadline() const {
  if (is_closed()) return Time::max();
  bool is_opening = stage_ != Stage::Open || fanout_.is_opening();
  return std::min(is_opening ? started_ + connect_timeout_ : Time::max(), fanout_.next_deadline());
}

void SimulatedRelay::on_time() {
  Time now = world_.now;
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

void SimulatedRelay::check() {
  if (is_closed()) return;
  queued_.assign(fanout_.leg_count(), 0);
  for (auto& [leg, bytes] : delivered_) queued_[leg] += bytes;
  rules_.check(fanout_, queued_, world_.now);
  require((fanout_.answer() == Fanout::Answer::Broken) == has_told_break_, "the client was not told of the break");
  require(fanout_.answer() == Fanout::Answer::Broken || (fanout_.answer() == Fanout::Answer::Finished) == has_told_end_,
          "the client was not told of the end");
}

}  // namespace cloudbus
