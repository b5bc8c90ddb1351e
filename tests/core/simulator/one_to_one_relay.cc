// SPDX-License-Identifier: Apache-2.0
#include "core/simulator/one_to_one_relay.h"

#include <utility>

#include "core/require.h"

namespace cloudbus {

OneToOneRelay::OneToOneRelay(SimulatedWorld& world, Flow::Side near, Budget& budget, std::string name)
    : SimulatedRelay(world, application, near, budget), application(world, std::move(name)) {
  if (near == Flow::Side::Client)
    stage_ = Stage::Opening;
  else
    flow_.wait_readable();
}

void OneToOneRelay::start(Session& session, StreamId its_stream, OwnerId its_owner, std::uint64_t key) {
  session_ = &session;
  exists = true;
  stream = its_stream;
  owner = its_owner;
  peer_key_ = key;
}

// --- The stream --------------------------------------------------------------------------------------------------

void OneToOneRelay::want() {
  if (session_ && !sending_done()) session_->want(stream);
}

void OneToOneRelay::finish_stream() {
  require(!finished, "{} finishes its stream twice", application.name);
  if (over() || sending_done()) return;
  finished = true;
  if (session_) session_->finish(stream);
}

void OneToOneRelay::stop_stream(StreamCode its_code) {
  if (over() || receiving_done()) return;
  stop_code = its_code;
  stopped = true;
  if (session_) session_->stop(stream, its_code);
}

void OneToOneRelay::reset_stream(StreamCode its_code) {
  if (over()) return;
  reset_code = its_code;
  own_reset = true;
  if (session_) session_->reset(stream, its_code);
}

void OneToOneRelay::give_credit(std::size_t bytes) {
  consumed += bytes;
  const Stream* found = session_ ? session_->find(stream) : nullptr;
  if (!found) return;
  std::uint64_t limit = found->window.limit();
  bool is_pressed = budget_.pressed();
  session_->consumed(stream, bytes, world_.now);
  if (!is_pressed || !budget_.pressed() || found->window.limit() == limit) return;
  require(found->window.limit() <= consumed + ReceiveWindow::kFloor, "credit of {} ahead under pressure",
          found->window.limit() - consumed);
}

void OneToOneRelay::on_taken(Bytes bytes) {
  std::uint64_t end = application.received + bytes.size();
  require(end <= received, "{} gets {} bytes, but {} came", application.name, end, received);
  require(SimulatedWorld::content().matches(bytes, peer_key_, application.received),
          "{} gets other bytes than were sent, at {}", application.name, application.received);
}

// --- What the session says ---------------------------------------------------------------------------------------

void OneToOneRelay::on_accepted() {
  accepted = true;
  stage_ = Stage::Open;
  write_pending();
}

void OneToOneRelay::accept() {
  on_accepted();
  session_->accept(stream);
  on_socket_readable();
}

void OneToOneRelay::on_data(Bytes bytes) {
  received += bytes.size();
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  deliver(&part, 1, bytes.size());
}

void OneToOneRelay::on_finished() {
  fin_received = true;
  end_delivery();
}

void OneToOneRelay::on_stopped(StreamCode its_code) {
  stopped_by_peer = true;
  stop_reading(its_code);
}

void OneToOneRelay::on_reset(StreamCode its_code) {
  was_reset = true;
  break_off(its_code);
}

void OneToOneRelay::on_lost() {
  lost = true;
  session_ = nullptr;
  break_off(StreamCode::LinkLost);
}

bool OneToOneRelay::fill(const Session::Quantum& quantum) {
  if (!can_read()) return session_->fill_done(quantum.stream, 0, false), false;
  std::size_t asked = world_.random.chance(50) ? quantum.bytes : world_.random.size(quantum.bytes);
  Output::Room room = session_->reserve(quantum, asked);
  require(room.size > 0 && room.size <= asked, "room for {} bytes instead of {}", room.size, asked);
  Result result = read_some(room.parts.data(), room.count, room.size);
  std::size_t left = result.bytes;
  for (int i = 0; i < room.count && left > 0; i++) {
    std::size_t part = std::min(left, room.parts[i].iov_len);
    frame_ends.push_back((sent += part));
    left -= part;
  }
  session_->fill_done(quantum.stream, result.bytes, flow_.is_readable());
  after_read(result.status);
  return result.status != Io::Again;
}

// --- The application ---------------------------------------------------------------------------------------------

bool OneToOneRelay::act() {
  if (is_closed()) return false;
  if (application.sent + application.received < abort_after) return application.act(*this);
  abort(code);
  return true;
}

std::string OneToOneRelay::describe() const {
  return fmt::format("{}; stream {}: sent {} received {} credited {}{}{}{}{}", application.describe(), stream, sent,
                     received, consumed, accepted ? " accepted" : "", finished ? " finished" : "",
                     fin_received ? " fin-received" : "", over() ? " over" : "");
}

}  // namespace cloudbus
