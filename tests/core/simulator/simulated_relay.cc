// SPDX-License-Identifier: Apache-2.0
#include "core/simulator/simulated_relay.h"

#include <algorithm>

#include "core/require.h"

namespace cloudbus {
namespace {

constexpr int kMostParts = 3;
constexpr Duration kLookBehindAfter = std::chrono::milliseconds(50);
constexpr Duration kResetPatience = std::chrono::seconds(30);

}  // namespace

SimulatedRelay::SimulatedRelay(SimulatedWorld& world, SimulatedApplication& application, Flow::Side near,
                               Budget& budget)
    : world_(world), application_(application), budget_(budget), flow_(near) {
  if (!world.random.chance(20)) return;
  prefix_.assign(world.random.size(300), 'p');
  flow_.put_prefix(as_bytes(prefix_), budget);
}

// --- From the socket to the stream -------------------------------------------------------------------------------

void SimulatedRelay::on_socket_readable() {
  if (is_closed()) return;
  if (application_.fin_sent) flow_.expect_end();
  flow_.on_readable();
  if (flow_.reads()) want();
}

void SimulatedRelay::on_socket_reset() {
  if (is_closed()) return;
  if (flow_.looks_for_errors()) {
    if (stage_ == Stage::Waiting) return abort(flow_.near_reset());
    on_write_failed(Io::Broken);
    if (is_closed()) return;
  }
  on_socket_readable();
  on_socket_writable();  // or so it is told
}

SimulatedRelay::Result SimulatedRelay::read_some(iovec* parts, int count, std::size_t size) {
  SimulatedApplication& from = application_;
  std::size_t bytes = std::min<std::size_t>(size, from.sent - from.taken), left = bytes;
  flow_.on_read(bytes, size);
  if (bytes == 0 && from.has_reset) return {knows_reset_ ? Io::End : Io::Broken};  // an error is told once
  if (bytes == 0) return {from.fin_sent ? Io::End : Io::Again};
  for (int i = 0; i < count && left > 0; i++) {
    std::size_t part = std::min(left, parts[i].iov_len);
    SimulatedWorld::content().fill(static_cast<std::byte*>(parts[i].iov_base), part, from.key, from.taken);
    from.taken += part;
    left -= part;
  }
  require(left == 0, "no room for {} bytes of {}", left, size);
  emptied_at_ = world_.now;
  on_read(bytes);
  return {Io::Done, bytes};
}

void SimulatedRelay::after_read(Io status) {
  if (is_closed() || status == Io::Done || status == Io::Again) return;
  say("is read to its {}", status == Io::End ? "end" : "reset");
  Flow::Action action = status == Io::End ? flow_.on_read_end() : flow_.on_read_failed();
  require(action != Flow::Action::Abort || application_.has_reset, "{} is given up at its end", application_.name);
  run(action);
  settle();
}

void SimulatedRelay::stop_reading(StreamCode code) {
  if (is_closed()) return;
  was_stopped_ = true;
  run(flow_.on_stop(code));
  settle();
}

// --- From the stream to the socket -------------------------------------------------------------------------------

SimulatedRelay::Result SimulatedRelay::write(const iovec* parts, int count) {
  SimulatedApplication& to = application_;
  require(!to.fin_received && !to.was_reset, "bytes after the end");
  if (to.has_reset) return {Io::Broken};
  if (to.is_deaf) return {Io::NotReading};
  std::size_t bytes = 0;
  for (int i = 0; i < count && to.space() > 0; i++) {
    Bytes part(static_cast<const std::byte*>(parts[i].iov_base), std::min(parts[i].iov_len, to.space()));
    bytes += part.size();
    std::size_t before = std::min(part.size(), prefix_.size() - prefix_taken_);
    prefix_taken_ += before;
    for (std::byte byte : part.first(before)) require(byte == std::byte{'p'}, "not the prefix, but {}", byte);
    part = part.subspan(before);
    on_taken(part);
    to.received += part.size();
    if (before + part.size() < parts[i].iov_len) break;
  }
  return bytes == 0 ? Result{Io::Again} : Result{Io::Done, bytes};
}

void SimulatedRelay::on_socket_writable() {
  if (stage_ != Stage::Open) return;
  flow_.on_writable();
  write_pending();
}

void SimulatedRelay::deliver(iovec* parts, int count, std::size_t size) {
  if (is_closed()) return;
  due_ += size;
  Flow::Delivery delivery = flow_.delivery();
  if (delivery == Flow::Delivery::Discard) return pay(size);
  delivered_ += size;
  if (delivery == Flow::Delivery::Write && stage_ == Stage::Open) return write_now(parts, count, size);
  flow_.keep(parts, count, 0, budget_);
}

void SimulatedRelay::write_now(iovec* parts, int count, std::size_t size) {
  Result result = write(parts, count);
  if (result.status == Io::Broken || result.status == Io::NotReading) {
    on_write_failed(result.status);
    return pay(size);
  }
  pay(flow_.on_written(result.bytes));
  if (result.bytes == size) return;
  flow_.on_blocked();
  flow_.keep(parts, count, result.bytes, budget_);
}

void SimulatedRelay::write_pending() {
  while (flow_.has_pending() && !is_closed()) {
    iovec parts[kMostParts];
    Result result = write(parts, flow_.gather(parts, kMostParts));
    if (result.status == Io::Again) return flow_.on_blocked();
    if (result.status != Io::Done) return on_write_failed(result.status);
    pay(flow_.on_written(result.bytes));
  }
  settle();
}

void SimulatedRelay::on_write_failed(Io status) {
  say("is found to {}", status == Io::NotReading ? "read no more" : "be broken");
  knows_reset_ = knows_reset_ || status == Io::Broken;
  bool was_reading = flow_.reads();
  auto [credit, action] = flow_.on_write_failed(status == Io::NotReading);
  require(!was_reading || action != Flow::Action::Abort, "what {} has sent is not read to its end", application_.name);
  pay(credit);
  run(action);
  settle();
}

void SimulatedRelay::pay(std::size_t bytes) {
  require(bytes <= due_, "credit for {} bytes, {} are due", bytes, due_);
  due_ -= bytes;
  give_credit(bytes);
}

void SimulatedRelay::check_credit() const {
  if (is_closed()) return;
  std::uint64_t pending = flow_.pending();
  if (pending > 0) pending -= prefix_.size() - prefix_taken_;
  require(due_ == pending, "credit is due for {} bytes to {}, but {} wait", due_, application_.name, pending);
}

void SimulatedRelay::end_delivery() {
  if (is_closed()) return;
  flow_.on_finish();
  settle();
}

void SimulatedRelay::break_off(StreamCode code) {
  if (is_closed()) return;
  say("is to be reset: {}", name_of(code));
  flow_.on_reset(code);
  reset_at_ = world_.now + kResetPatience;
  settle();
}

// --- Ends --------------------------------------------------------------------------------------------------------

void SimulatedRelay::settle() {
  while (!is_closed() && flow_.is_ending()) {
    auto action = flow_.next({stage_ == Stage::Open, is_stream_over(), application_.has_all()});
    if (action == Flow::Action::None) return;
    run(action);
  }
}

void SimulatedRelay::run(Flow::Action action) {
  using Action = Flow::Action;
  const SimulatedApplication& of = application_;
  switch (action) {
    case Action::None:
    case Action::StopSocket: return;
    case Action::Want: return want();
    case Action::FinishStream:
      require(of.fin_sent && of.taken == of.sent && !knows_reset_, "a clean end of {}, which has not ended", of.name);
      return finish_stream();
    case Action::StopStream:
      require(of.is_deaf, "STOP for {}, which reads on", of.name);
      return stop_stream(flow_.code());
    case Action::FinishSocket: return finish_socket();
    case Action::AwaitDelivery:
      require(of.is_deaf || was_stopped_, "{} has ended cleanly, and is to be reset", of.name);
      reset_at_ = world_.now + kResetPatience;
      return;
    case Action::Close:
      require(of.fin_sent && of.taken == of.sent, "{} is closed, and has not ended", of.name);
      if (!of.fin_received) finish_socket();
      return close();
    case Action::Reset:
      require(of.has_all() || of.has_reset || stage_ != Stage::Open, "a reset overtakes what {} has to read", of.name);
      return reset_socket();
    case Action::Abort:
      require(of.has_reset || of.is_deaf, "{} is given up, and there is nothing wrong with it", of.name);
      reset_stream(flow_.code());
      application_.was_reset = true;
      return close();
  }
}

void SimulatedRelay::finish_socket() {
  SimulatedApplication& to = application_;
  require(!to.fin_received, "a second FIN for {}", to.name);
  require(stage_ == Stage::Open, "FIN for {}, which is not connected", to.name);
  require(to.received == delivered_ && prefix_taken_ == prefix_.size(), "FIN for {}, which got {} bytes of {}", to.name,
          to.received, delivered_);
  to.fin_received = true;
}

void SimulatedRelay::reset_socket() {
  const SimulatedApplication& to = application_;
  bool must_get_all = stage_ == Stage::Open && !to.has_reset && !to.is_deaf && world_.now < reset_at_;
  require(!must_get_all || to.received == delivered_, "a reset of {} after {} bytes of {}", to.name, to.received,
          delivered_);
  application_.was_reset = true;
  close();
}

void SimulatedRelay::abort(StreamCode code) {
  if (is_closed()) return;
  say("is given up: {}", name_of(code));
  flow_.abort(code);
  reset_stream(code);
  application_.was_reset = true;
  close();
}

void SimulatedRelay::close() {
  if (is_closed()) return;
  say("is closed");
  flow_.close();
  on_close();
  stage_ = Stage::Closed;
}

// --- Time --------------------------------------------------------------------------------------------------------

Time SimulatedRelay::next_deadline() const {
  if (is_closed()) return Time::max();
  Time look = flow_.was_emptied() && flow_.reads() ? emptied_at_ + kLookBehindAfter : Time::max();
  return std::min(look, flow_.is_resetting() ? reset_at_ : Time::max());
}

void SimulatedRelay::on_time() {
  if (is_closed()) return;
  if (flow_.is_resetting() && world_.now >= reset_at_) return reset_socket();
  if (!flow_.was_emptied() || world_.now < emptied_at_ + kLookBehindAfter) return;
  flow_.look_again();
  if (flow_.reads()) want();
}

}  // namespace cloudbus
