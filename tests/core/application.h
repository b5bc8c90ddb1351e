// SPDX-License-Identifier: Apache-2.0
#pragma once

// An application that answers whatever a session tells it, for sessions that are fed with anything. It aborts where a
// session says what it must not say.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "cloudbus/core/session/session.h"

namespace cloudbus {

class Application {
 public:
  static constexpr std::uint64_t kMemory = 4 * 1024 * 1024;

  explicit Application(Role role)
      : role_(role),
        budget_(kMemory),
        session_(std::make_unique<Session>(role, Hello{}, limits(), slabs(), budget_, now_)) {}
  ~Application() {
    session_.reset();
    require(budget_.reserve(kMemory), "all that windows reserved came back");
  }

  Session& session() { return *session_; }
  std::size_t written() const { return written_; }
  std::size_t opened() const { return opened_; }

  // Takes bytes as they come off a link, and answers.
  void receive(Bytes input) {
    bool was_closed = session_->is_closed();
    std::size_t events = 0, most = input.size() + 2;
    while (auto event = session_->receive(input, now_)) {
      require(!was_closed, "no event after the end");
      require(++events <= most, "no more events than bytes");
      on_event(*event);
    }
    require(input.empty(), "all bytes are taken");
    if (session_->is_closed())
      require(session_->closed().by_peer || !session_->closed().error.reason.empty(), "a reason");
    work();
  }

  void pass_time(Duration time) {
    now_ += time;
    session_->on_time(now_);
    require(session_->is_closed() || session_->next_deadline() > now_, "a deadline that has passed was looked at");
    work();
  }

 private:
  struct Known {
    std::uint64_t unread = 0;
    bool finished = false;  // by the peer
  };

  // Warm for the next session: there are many.
  static SlabPool& slabs() {
    static SlabPool pool;
    return pool;
  }

  static SessionLimits limits() {
    SessionLimits limits;
    limits.initial_window = 20'000;
    limits.max_streams = 20;
    return limits;
  }

  static void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "does not hold: %s\n", what);
    std::abort();
  }

  void on_event(const Event& event) {
    if (event.kind == EventKind::Closed) return require(session_->is_closed(), "closed");
    if (event.kind == EventKind::Established) return require(!std::exchange(ready_, true), "ready once");
    require(ready_, "no event before a valid HELLO");
    if (event.kind == EventKind::MoreStreams)
      return require(role_ == Role::Controller, "more streams for a controller");
    if (event.kind == EventKind::GoingAway) return require(session_->peer_going_away(), "going away");
    if (event.kind == EventKind::Opened) return on_opened(event);
    auto found = streams_.find(event.stream);
    require(found != streams_.end(), "an event of a known stream");
    require(event.owner == event.stream + 1'000, "its owner");
    switch (event.kind) {
      case EventKind::Data:
        require(!event.data.empty() && !found->second.finished, "data before FIN");
        found->second.unread += event.data.size();
        require(found->second.unread <= ReceiveWindow::kMost, "no more than a window");
        if (event.stream % 5 == 4) end_stream(event.stream);
        return;
      case EventKind::Finished:
        require(!std::exchange(found->second.finished, true), "FIN once");
        if (event.stream % 2 == 0) session_->finish(event.stream);
        return forget_if_over(event.stream);
      case EventKind::Reset: require(!session_->find(event.stream), "gone"); return forget_if_over(event.stream);
      case EventKind::Stopped: return forget_if_over(event.stream);
      default: return;
    }
  }

  void on_opened(const Event& event) {
    require(role_ == Role::Segment && event.request, "a segment is opened streams");
    require(streams_.try_emplace(event.stream).second, "opened once");
    opened_++;
    session_->adopt(event.stream, event.stream + 1'000);
    if (event.request->service == "none") return end_stream(event.stream);
    session_->accept(event.stream);
  }

  void end_stream(StreamId stream) {
    if (stream % 2 == 0)
      session_->reset(stream, StreamCode::ServerReset);
    else
      session_->stop(stream, StreamCode::Cancelled);
    forget_if_over(stream);
  }

  void forget_if_over(StreamId stream) {
    if (session_->is_closed() || session_->find(stream) || streams_.erase(stream) == 0) return;
    if (role_ == Role::Segment) session_->release();
  }

  // The end of a turn: reads what was delivered, opens, sends, and writes all to the link.
  void work() {
    if (session_->is_closed()) return take_output();
    while (streams_.size() < 4 && session_->can_open()) {
      StreamId stream = session_->open({{}, 0, "echo", "client"}, next_ + 1'000);
      require(stream == next_++, "ids in their order");
      streams_.try_emplace(stream);
    }
    std::vector<StreamId> live;
    for (auto& [stream, known] : streams_) {
      session_->consumed(stream, std::exchange(known.unread, 0), now_);
      session_->want(stream);
      live.push_back(stream);
    }
    for (std::size_t turns = 0; turns < 8; turns++) {
      auto quantum = session_->next_quantum();
      if (!quantum) break;
      require(quantum->bytes > 0 && quantum->bytes <= session_->find(quantum->stream)->credit(),
              "a turn within the credit");
      std::size_t bytes = std::min<std::size_t>(quantum->bytes, 3'000);
      Output::Room room = session_->reserve(*quantum, bytes);
      for (int i = 0; i < room.count; i++) std::memset(room.parts[i].iov_base, 'x', room.parts[i].iov_len);
      session_->fill_done(quantum->stream, bytes, quantum->stream % 3 == 0);
    }
    for (StreamId stream : live) forget_if_over(stream);
    take_output();
  }

  void take_output() {
    iovec parts[16];
    while (!session_->output().empty()) {
      int count = session_->output().gather(parts, 16);
      std::size_t size = 0;
      for (int i = 0; i < count; i++) size += parts[i].iov_len;
      require(size > 0, "output that moves");
      session_->output().consume(size);
      written_ += size;
    }
  }

  Role role_;
  Time now_{std::chrono::hours(1)};
  Budget budget_;
  std::unique_ptr<Session> session_;
  std::map<StreamId, Known> streams_;
  StreamId next_ = 1;
  std::size_t written_ = 0, opened_ = 0;
  bool ready_ = false;
};

}  // namespace cloudbus
