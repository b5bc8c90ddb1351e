// SPDX-License-Identifier: Apache-2.0
#pragma once

// One session under test: takes bytes, tells its events and its output as text that is easy to compare.

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "cloudbus/core/session/session.h"
#include "core/wire.h"

namespace cloudbus {

inline const char* name_of(EventKind kind) {
  switch (kind) {
    case EventKind::Established: return "ready";
    case EventKind::Opened: return "opened";
    case EventKind::Accepted: return "accepted";
    case EventKind::Data: return "data";
    case EventKind::Finished: return "finished";
    case EventKind::Stopped: return "stopped";
    case EventKind::Reset: return "reset";
    case EventKind::MoreStreams: return "more-streams";
    case EventKind::GoingAway: return "going-away";
    case EventKind::ResumeAsked: return "resume-asked";
    case EventKind::Resumed: return "resumed";
    case EventKind::Closed: return "closed";
  }
  return "?";
}

class SessionEnd {
 public:
  static constexpr std::uint64_t kMemory = 512 * 1024 * 1024;

  explicit SessionEnd(Role role, const SessionLimits& limits = {}, std::uint64_t memory = kMemory,
                      const Hello& hello = {})
      : role_(role), budget(memory), session(role, hello, limits, slabs(), budget, now) {}

  // A session whose peer has said its HELLO; nothing of that is left to read in written().
  static std::unique_ptr<SessionEnd> ready(Role role, const SessionLimits& limits = {}, std::uint64_t memory = kMemory,
                                           std::uint64_t peer_window = 256 * 1024, std::uint64_t peer_streams = 100) {
    auto end = std::make_unique<SessionEnd>(role, limits, memory);
    end->feed(end->peer_start(peer_window, peer_streams));
    end->feed(wire::pong(1));
    end->written();
    return end;
  }

  wire::Buffer peer_start(std::uint64_t window = 256 * 1024, std::uint64_t streams = 100) const {
    return role_ == Role::Controller ? wire::preface(Role::Segment) + wire::hello(window, streams)
                                     : wire::preface(Role::Controller) + wire::hello(window, 0);
  }

  // The events of these bytes, one after the other with `; ` between them; adjacent pieces of data are joined.
  std::string feed(Bytes input) { return feed_in_pieces({input}); }

  std::string feed_in_pieces(const std::vector<Bytes>& pieces) {
    std::string events;
    StreamId data_of = 0;
    for (Bytes input : pieces) {
      while (auto event = session.receive(input, now)) {
        bool joins = event->kind == EventKind::Data && data_of == event->stream;
        data_of = event->kind == EventKind::Data ? event->stream : 0;
        if (!joins) events += (events.empty() ? "" : "; ") + describe(*event);
        if (event->kind == EventKind::Data) events += as_text(event->data);
      }
    }
    return events;
  }

  // Everything that waits to be written.
  wire::Buffer written() {
    wire::Buffer out;
    iovec parts[8];
    while (!session.output().empty()) {
      int count = session.output().gather(parts, 8);
      std::size_t size = 0;
      for (int i = 0; i < count; i++) {
        auto* begin = static_cast<const std::byte*>(parts[i].iov_base);
        out.insert(out.end(), begin, begin + parts[i].iov_len);
        size += parts[i].iov_len;
      }
      session.output().consume(size);
    }
    return out;
  }

  // Sends text on a stream, as much as there is credit for; returns how many bytes.
  std::size_t send(StreamId stream, std::string_view bytes) {
    session.want(stream);
    std::size_t total = 0;
    while (auto quantum = session.next_quantum()) {
      std::size_t wanted = quantum->stream == stream ? bytes.size() - total : 0;
      Output::Room room = session.reserve(*quantum, wanted);
      std::size_t filled = 0;
      for (int i = 0; i < room.count; i++) {
        bytes.copy(static_cast<char*>(room.parts[i].iov_base), room.parts[i].iov_len, total + filled);
        filled += room.parts[i].iov_len;
      }
      total += filled;
      session.fill_done(quantum->stream, filled, quantum->stream == stream && total < bytes.size());
    }
    return total;
  }

  // Why the session ended: `CODE: reason`.
  std::string closed() const {
    if (!session.is_closed()) return "not closed";
    return fmt::format("{}: {}", name_of(session.closed().error.code), session.closed().error.reason);
  }
  LinkCode code() const { return session.closed().error.code; }

 private:
  // Warm for the next session: there are many.
  static SlabPool& slabs() {
    static SlabPool pool;
    return pool;
  }

  std::string describe(const Event& event) const {
    switch (event.kind) {
      case EventKind::Opened: return fmt::format("opened {} {}", event.stream, event.request->service);
      case EventKind::Data: return fmt::format("data {} ", event.stream);
      case EventKind::Reset:
      case EventKind::Stopped: return fmt::format("{} {} {}", name_of(event.kind), event.stream, name_of(event.code));
      case EventKind::Accepted:
      case EventKind::Finished: return fmt::format("{} {}", name_of(event.kind), event.stream);
      case EventKind::Closed: return fmt::format("closed {}", name_of(code()));
      case EventKind::Established:
      case EventKind::MoreStreams:
      case EventKind::GoingAway:
      case EventKind::ResumeAsked:
      case EventKind::Resumed: break;
    }
    return name_of(event.kind);
  }

  Role role_;

 public:
  Time now{std::chrono::hours(1)};
  Budget budget;
  Session session;
};

}  // namespace cloudbus
