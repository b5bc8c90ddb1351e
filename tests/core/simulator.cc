// SPDX-License-Identifier: Apache-2.0
#include "simulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>
#include <vector>

#include "cloudbus/core/byte_queue.h"
#include "cloudbus/core/session.h"
#include "content.h"
#include "conversation.h"
#include "pipe.h"
#include "random.h"

namespace cloudbus {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kMostSteps = 400'000;
constexpr Duration kStuck = seconds(60);  // without progress, while pings go back and forth

class Simulation {
 public:
  Simulation(std::uint64_t seed, bool trace) : random_(seed), trace_(trace) {
    plan_link();
    plan_conversations();
  }

  SimulationResult run() {
    SimulationResult result{};
    try {
      while (!ends_[0]->dead || !ends_[1]->dead) {
        steps_++;
        require(steps_ < kMostSteps, "no end in sight: {} steps", steps_);
        step();
        check();
      }
      check_end();
    } catch (const std::runtime_error& broken) {
      result.error = broken.what();
    }
    result.fingerprint = fingerprint_;
    result.steps = steps_;
    result.delivered = delivered_;
    for (const Conversation& conversation : conversations_) {
      result.streams += conversation.sides[0].exists;
      for (const Side& side : conversation.sides) {
        result.resets += side.was_reset || side.own_reset;
        result.finished += side.fin_received;
      }
    }
    result.was_cut = ending_ == Ending::Cut || ending_ == Ending::BlackHole;
    result.resumed = resumed_;
    return result;
  }

 private:
  enum class Ending { Quiet, DrainBySegment, DrainByController, Cut, Close, BlackHole };

  // Warm for the next simulation: there are many.
  static SlabPool& slabs() {
    static SlabPool pool;
    return pool;
  }

  struct End {
    End(Role end_role, std::uint64_t memory, const SessionLimits& end_limits, const Hello& hello, Time now)
        : role(end_role),
          limits(end_limits),
          budget(memory),
          session(std::make_unique<Session>(end_role, hello, end_limits, slabs(), budget, now)) {}
    Role role;
    SessionLimits limits;
    Budget budget;
    std::unique_ptr<Session> session;
    std::unique_ptr<Session> fresh;  // of a new link, until that carries `session`
    bool is_attached = true;         // the link carries `session`
    std::size_t most_output = 0;     // bytes, before data waits
    Time last_heard{};
    bool dead = false;  // its link is gone, and its streams were told
  };

  template <typename... Args>
  void require(bool holds, fmt::format_string<Args...> format, Args&&... args) const {
    if (!holds) throw std::runtime_error(fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) const {
    if (trace_)
      fmt::print("{:6} {:>9} us  {}\n", steps_, (now_ - kStart).count(),
                 fmt::format(format, std::forward<Args>(args)...));
  }
  void note(std::uint64_t value) { fingerprint_ = (fingerprint_ ^ value) * 0x100000001B3 + (fingerprint_ >> 29); }

  static const char* name(int e) { return e == 0 ? "controller" : "segment"; }
  Session& session(int e) { return *ends_[e]->session; }
  // What the link carries at an end; null where it has ended.
  Session* carried(int e) { return ends_[e]->is_attached ? ends_[e]->session.get() : ends_[e]->fresh.get(); }
  bool both_live() const { return !ends_[0]->dead && !ends_[1]->dead; }

  // --- What is drawn from the seed ---

  void plan_link() {
    scale_ = random_.pick<std::uint64_t>({2'000, 30'000, 120'000, 400'000});
    std::uint64_t max_streams = random_.pick<std::uint64_t>({1, 2, 4, 8, 40});
    plan_cuts();
    for (int e = 0; e < 2; e++) {
      SessionLimits limits;
      limits.initial_window = random_.pick<std::uint32_t>({16'384, 16'384, 20'000, 65'536, 262'144});
      limits.max_streams = max_streams;
      auto memory = random_.pick<std::uint64_t>({64 * 1024, 256 * 1024, 1024 * 1024, 64 * 1024 * 1024});
      ends_[e] = std::make_unique<End>(e == 0 ? Role::Controller : Role::Segment, memory, limits, hello(e), now_);
      ends_[e]->most_output = random_.size(1024 * 1024);
      ends_[e]->last_heard = now_;
      pipes_[e].capacity = scale_ < 30'000 ? random_.pick<std::size_t>({20, 300, 5'000})
                                           : random_.pick<std::size_t>({5'000, 70'000, 1'000'000});
      // A link so slow that what stands before a ping takes seconds would be taken for dead.
      auto slowest = pipes_[e].capacity < 1'000    ? Duration(100)
                     : pipes_[e].capacity < 50'000 ? milliseconds(5)
                                                   : milliseconds(100);
      pipes_[e].delay = std::min<Duration>(
          slowest, random_.pick<Duration>({microseconds(0), microseconds(100), milliseconds(5), milliseconds(100)}));
    }
    most_chunk_ = scale_ < 30'000 ? random_.pick<std::size_t>({1, 40, 1'000, 100'000})
                                  : random_.pick<std::size_t>({1'000, 20'000, 300'000});
    tick_ = std::min<std::uint64_t>(most_chunk_, random_.pick<std::uint64_t>({1, 10, 100, 1'000}));
    ending_ = random_.pick({Ending::Quiet, Ending::Quiet, Ending::Quiet, Ending::DrainBySegment,
                            Ending::DrainByController, Ending::Cut, Ending::Cut, Ending::Close, Ending::BlackHole});
    ends_at_ = ending_ == Ending::Quiet ? kNever : random_.size(3'000);
    say("windows {} and {}, memory {} and {}, max-streams {}, capacity {} and {}, chunks {}, ending {} at {}",
        ends_[0]->limits.initial_window, ends_[1]->limits.initial_window, ends_[0]->budget.limit(),
        ends_[1]->budget.limit(), max_streams, pipes_[0].capacity, pipes_[1].capacity, most_chunk_,
        static_cast<int>(ending_), ends_at_);
  }

  // Links that break under sessions that are resumed.
  void plan_cuts() {
    if (!random_.chance(50)) return;
    is_resumable_ = true;
    for (std::uint64_t cuts = random_.below(8); cuts > 0; cuts--) cuts_.push_back(random_.size(6'000));
    if (!cuts_.empty() && random_.chance(30)) cuts_.push_back(cuts_.back() + random_.size(30));  // while it is resumed
    std::ranges::sort(cuts_, std::greater<>());
  }

  Hello hello(int e) {
    Hello hello{.software = "simulator"};
    if (!is_resumable_) return hello;
    hello.resume.emplace().wait_ms = 30'000;
    for (std::byte& byte : hello.resume->nonce) byte = static_cast<std::byte>(random_.below(256));
    if (e == 0) return hello;
    SessionKey& key = hello.session.emplace();
    for (std::byte& byte : key.id) byte = static_cast<std::byte>(random_.below(256));
    for (std::byte& byte : key.secret) byte = static_cast<std::byte>(random_.below(256));
    return hello;
  }

  void plan_conversations() {
    std::uint64_t max_streams = ends_[1]->limits.max_streams;
    std::uint64_t may_stall = max_streams - std::max<std::uint64_t>(1, max_streams / 4);
    conversations_.resize(random_.size(12));
    for (Conversation& conversation : conversations_) {
      conversation.key = random_.below(Content::kPeriod);
      for (Side& side : conversation.sides) {
        side.to_send = random_.chance(10) ? 0 : random_.size(scale_);
        side.burst = scale_ / 300 + random_.size(scale_);
        if (random_.chance(10)) side.reset_after = random_.below(scale_);
        if (random_.chance(10)) side.stop_after = random_.below(scale_);
        if (random_.chance(20)) side.pause = Duration(random_.size(12'000'000));
        side.code = static_cast<StreamCode>(random_.below(static_cast<unsigned>(StreamCode::LinkLost)));
      }
      Side& server = conversation.sides[1];
      server.refuses = random_.chance(8);
      server.waits_for_fin = random_.chance(25);
      conversation.sides[0].waits_for_bytes = !server.waits_for_fin && server.to_send > 0 && random_.chance(25);
      if (may_stall > 0 && random_.chance(15)) {
        may_stall--;
        conversation.sides[random_.below(2)].stalled = true;
      }
    }
  }

  // --- Steps ---

  void step() {
    if (steps_ == ends_at_) begin_ending();
    for (int e = 0; e < 2; e++) {
      if (ends_[e]->dead) continue;
      session(e).on_time(now_);
      if (session(e).is_closed())
        on_closed(e);
      else if (session(e).is_silent())
        end_link(e);
      if (Session* fresh = ends_[e]->fresh.get()) {
        fresh->on_time(now_);
        if (fresh->is_closed()) end_link(e);
      }
    }
    if (now_ >= relink_at_) relink();
    constexpr int kActions = 11;
    std::uint64_t first = random_.below(kActions);
    bool acted = false;
    for (int i = 0; i < kActions && !acted; i++) acted = act((first + i) % kActions);
    if (!cuts_.empty() && steps_ >= cuts_.back()) cut_link();
    if (acted)
      now_ += Duration(random_.below(tick_));
    else
      wait();
    if (both_live() && all_over()) begin_quiet_end();
  }

  bool act(std::uint64_t action) {
    int e = static_cast<int>(action % 2);
    if (action == 10) return open();
    if (ends_[e]->dead) return false;
    switch (action / 2) {
      case 0: return pump(e);
      case 1: return deliver(e);
      case 2: return take_turn(e);
      case 3: return run_application(e);
      case 4: return repeat_command(e);
    }
    return false;
  }

  // Nothing can be done now: on to what happens next.
  void wait() {
    if (ends_[0]->dead && ends_[1]->dead) return;
    Time next = Time::max();
    for (int e = 0; e < 2; e++) {
      if (ends_[e]->dead) continue;
      next = std::min({next, session(e).next_deadline(), relink_at_});
      if (carried(e)) next = std::min({next, carried(e)->next_deadline(), pipes_[1 - e].next_arrival()});
      for (const Conversation& conversation : conversations_) {
        const Side& side = conversation.sides[e];
        if (side.exists && side.not_before > now_) next = std::min(next, side.not_before);
      }
    }
    require(next != Time::max(), "nothing will ever happen again");
    now_ = std::max(now_, next);
    require(now_ - last_progress_ < kStuck, "stuck: no progress for a minute; {}", unfinished());
  }

  void progress() { last_progress_ = now_; }

  // --- The link ---

  bool pump(int e) {
    if (!carried(e)) return false;
    Output& output = carried(e)->output();
    Pipe& pipe = pipes_[e];
    std::size_t space = std::min(pipe.space(), output.size());
    if (space == 0) return false;
    std::size_t part = random_.size(space);
    iovec parts[4];
    int count = output.gather(parts, 4);
    std::size_t put = 0;
    for (int i = 0; i < count && put < part; i++) {
      std::size_t length = std::min(parts[i].iov_len, part - put);
      if (!pipe.ended) pipe.push({static_cast<const std::byte*>(parts[i].iov_base), length}, now_);
      put += length;
    }
    output.consume(put);
    carried(e)->on_written(now_);
    return true;
  }

  bool deliver(int e) {
    if (e == 1 && is_on_old_link_ && random_.chance(50) && deliver_late()) return true;
    if (!carried(e)) return false;
    Pipe& pipe = pipes_[1 - e];
    if (pipe.size() == 0 && pipe.ended) return end_link(e), true;
    if (pipe.next_arrival() > now_) return false;
    auto bytes = pipe.pop(random_.size(most_chunk_), now_);
    ends_[e]->last_heard = now_;
    Bytes input(bytes);
    if (!ends_[e]->is_attached) return receive_fresh(e, input);
    take(e, input);
    return true;
  }

  void take(int e, Bytes input) {
    std::size_t before = input.size();
    while (auto event = session(e).receive(input, now_)) {
      on_event(e, *event);
      if (session(e).is_closed()) break;
      if (random_.chance(10)) run_application(e);
      if (session(e).is_closed()) break;
    }
    note(before);
    if (session(e).is_closed())
      on_closed(e);
    else
      require(input.empty(), "{} left {} bytes untaken", name(e), input.size());
  }

  // --- Resuming ---

  // The link of an end has ended: its session waits for another, or is lost.
  void end_link(int e) {
    End& end = *ends_[e];
    if (end.dead) return;
    bool waits = session(e).is_resumable() && !closing_ && !ends_[1 - e]->dead &&
                 (session(e).is_ready() || session(e).is_detached());
    if (!waits) return lose_link(e);
    say("{} waits for another link", name(e));
    session(e).detach();
    end.is_attached = false;
    end.fresh.reset();
    if (e == 1 && is_on_old_link_) is_on_old_link_ = false;
    pipes_[e].ended = true;
    pipes_[1 - e].discard();
    progress();
    if (e == 0) relink_at_ = now_ + Duration(random_.below(2'000'000));
  }

  void cut_link() {
    cuts_.pop_back();
    if (!both_live() || closing_) return;
    bool is_early =
        (ends_[0]->is_attached && !session(0).is_ready()) || (ends_[1]->is_attached && !session(1).is_ready());
    if (is_early) return cuts_.push_back(steps_ + random_.size(200));
    say("the link is cut");
    for (Pipe& pipe : pipes_) {
      if (random_.chance(50)) pipe.discard();
      pipe.ended = true;
    }
  }

  // What the segment still gets from a link that the controller has given up, before it knows of the next one.
  bool deliver_late() {
    if (old_pipe_.size() == 0) return false;
    auto bytes = old_pipe_.pop(random_.size(most_chunk_), Time::max());
    say("segment gets {} bytes of an old link", bytes.size());
    take(1, bytes);
    return true;
  }

  // The controller has made another link; the segment may not have noticed that the last one has ended.
  void relink() {
    relink_at_ = Time::max();
    if (ends_[0]->dead || ends_[0]->is_attached) return;
    if (ends_[1]->dead) return lose_link(0);  // the segment does not know the session
    say("another link");
    if (ends_[1]->is_attached) {
      ends_[1]->is_attached = false;
      is_on_old_link_ = true;
      old_pipe_ = std::move(pipes_[0]);
    }
    for (int e = 0; e < 2; e++) {
      Pipe pipe;
      pipe.capacity = pipes_[e].capacity == 0 ? old_pipe_.capacity : pipes_[e].capacity;
      pipe.delay = e == 0 && is_on_old_link_ ? old_pipe_.delay : pipes_[e].delay;
      pipes_[e] = std::move(pipe);
    }
    for (int e = 0; e < 2; e++)
      ends_[e]->fresh = std::make_unique<Session>(e == 0 ? Role::Controller : Role::Segment, hello(e), ends_[e]->limits,
                                                  slabs(), ends_[e]->budget, now_);
  }

  bool receive_fresh(int e, Bytes input) {
    progress();
    while (auto event = ends_[e]->fresh->receive(input, now_)) {
      switch (event->kind) {
        case EventKind::Ready:
          if (e == 0) ends_[0]->fresh->ask_resume(session(0));
          break;
        case EventKind::ResumeAsked: return resume_segment(*event->resume, input), true;
        case EventKind::Resumed: resumed_++; return attach(0, event->resume->position, {}, input), true;
        default:
          require(false, "an event of kind {} of a new link: {}", static_cast<int>(event->kind),
                  ends_[e]->fresh->closed().error.reason);
      }
    }
    return true;
  }

  void resume_segment(const ResumeFrame& request, Bytes rest) {
    ResumeClaim claim = ends_[1]->fresh->claim_of(request);
    require(claim.session == session(1).key().id, "RESUME of another session");
    require(is_proven(claim, session(1).key().secret, request.proof), "RESUME without a proof");
    is_on_old_link_ = false;  // it is fenced
    if (session(1).is_closed()) return;
    session(1).detach();
    auto answer = session(1).accept_resume(claim);
    require(answer.has_value(), "RESUME was not accepted");
    attach(1, request.position, *answer, rest);
  }

  void attach(int e, std::uint64_t position, Bytes answer, Bytes rest) {
    std::vector<std::byte> opening;
    for (Output& output = ends_[e]->fresh->output(); !output.empty();) {
      iovec part;
      output.gather(&part, 1);
      auto* begin = static_cast<const std::byte*>(part.iov_base);
      opening.insert(opening.end(), begin, begin + part.iov_len);
      output.consume(part.iov_len);
    }
    opening.insert(opening.end(), answer.begin(), answer.end());
    say("{} goes on", name(e));
    session(e).attach(position, opening, now_);
    require(!session(e).is_closed(), "{} cannot go on: {}", name(e), session(e).closed().error.reason);
    ends_[e]->fresh.reset();
    ends_[e]->is_attached = true;
    if (!rest.empty()) take(e, rest);
  }

  // The session of an end is over, by itself or by its peer: that was meant to happen, or it did not.
  void on_closed(int e) {
    const Closed& closed = session(e).closed();
    say("{} closed: {} {}{}", name(e), name_of(closed.error.code), closed.error.reason,
        closed.by_peer ? " (by the peer)" : "");
    bool hole = ending_ == Ending::BlackHole && steps_ >= ends_at_;
    bool timed_out = closed.error.code == LinkCode::PingTimeout || closed.error.code == LinkCode::HandshakeTimeout;
    bool meant = closing_ || (hole && timed_out);
    require(meant, "{} closed its session: {}: {}", name(e), name_of(closed.error.code), closed.error.reason);
    if (hole && !closed.by_peer)
      require(now_ - ends_[e]->last_heard <= seconds(15) + milliseconds(100), "{} noticed a dead peer late", name(e));
    if (closed.by_peer) require(closed.error.code == close_code_ || hole, "CLOSE arrived with another code");
    if (closed.by_peer)
      require(session(1 - e).closed().error.reason == closed.error.reason, "CLOSE arrived with another reason");
    lose_link(e);
  }

  // The end's link is gone; what it wrote may still arrive.
  void lose_link(int e) {
    End& end = *ends_[e];
    if (end.dead) return;
    say("{} lost its link", name(e));
    require(closing_ || cut_ || ending_ == Ending::BlackHole, "{} lost a link that was not cut", name(e));
    bool was_attached = end.is_attached;
    end.fresh.reset();
    if (e == 1) is_on_old_link_ = false;
    std::vector<OwnerId> owners;
    session(e).for_each_stream([&](StreamId, OwnerId owner) { owners.push_back(owner); });
    for (OwnerId owner : owners) {
      Side* side = owner == 0 ? nullptr : find_side(e, owner);
      require(side && !side->over(), "{} named an owner of no living stream: {}", name(e), owner);
      side->lost = true;
    }
    while (!cut_ && was_attached && !session(e).output().empty()) {  // the kernel sends what it was given
      std::size_t capacity = std::exchange(pipes_[e].capacity, kNever);
      pump(e);
      pipes_[e].capacity = capacity;
    }
    pipes_[e].ended = true;
    pipes_[1 - e].discard();
    end.dead = true;
    progress();
    // Nobody resumes the other one.
    if (!ends_[1 - e]->dead && session(1 - e).is_detached()) lose_link(1 - e);
  }

  void begin_ending() {
    if (!both_live() || closing_) return;
    int e = static_cast<int>(random_.below(2));
    switch (ending_) {
      case Ending::Quiet: return;
      case Ending::DrainBySegment: return drain(1);
      case Ending::DrainByController: return drain(0);
      case Ending::Cut:
        if (is_resumable_) return cuts_.push_back(steps_);
        say("cut");
        cut_ = true;
        for (Pipe& pipe : pipes_) {
          if (random_.chance(50)) pipe.discard();
          pipe.ended = true;
        }
        for (int i = 0; i < 2; i++)
          if (pipes_[i].size() == 0 || random_.chance(30)) lose_link(1 - i);
        return;
      case Ending::Close: return close(e, LinkCode::Shutdown);
      case Ending::BlackHole:
        say("black hole");
        pipes_[e].swallows = true;
        if (random_.chance(50)) pipes_[1 - e].swallows = true;
        return;
    }
  }

  void drain(int e) {
    if (session(e).is_detached()) return void(ends_at_ = steps_ + 1);
    if (!session(e).is_ready()) return void(ends_at_ = steps_ + 1);  // a little later
    say("{} drains", name(e));
    session(e).drain(now_);
    session(e).drain(now_);  // once more changes nothing
    draining_ = true;
  }

  void close(int e, LinkCode code) {
    closing_ = true;
    close_code_ = code;
    say("{} closes", name(e));
    session(e).close(code, "the simulation closes it");
    session(e).close(LinkCode::ProtocolError, "once more changes nothing");
    on_closed(e);
  }

  // All streams have ended: a drain, and then CLOSE.
  void begin_quiet_end() {
    if (cut_ || closing_ || !session(0).is_ready() || !session(1).is_ready()) return;
    if (ending_ == Ending::BlackHole && steps_ >= ends_at_ && !is_resumable_) return;
    if (!draining_) drain(static_cast<int>(random_.below(2)));
    for (int e = 0; e < 2; e++)
      if (!closing_ && session(e).is_drained()) close(e, LinkCode::NoError);
  }

  bool all_over() const {
    return std::ranges::all_of(conversations_, [](const Conversation& conversation) {
      return is_over(conversation, 0) && is_over(conversation, 1);
    });
  }
  static bool is_over(const Conversation& conversation, int e) {
    const Side& side = conversation.sides[e];
    return conversation.given_up ||
           (side.exists ? side.over() && (e == 0 || side.released) : e == 1 && conversation.sides[0].over());
  }

  // --- Events ---

  Side* find_side(int e, OwnerId owner) {
    std::uint64_t index = owner - owner_of(e, 0);
    return owner < owner_of(e, 0) || index >= conversations_.size() ? nullptr : &conversations_[index].sides[e];
  }
  static OwnerId owner_of(int e, std::size_t index) { return (e == 0 ? 1'000 : 2'000) + index; }

  void on_event(int e, const Event& event) {
    note(static_cast<std::uint64_t>(event.kind) * 31 + event.stream);
    note(event.data.size());
    progress();
    if (event.kind != EventKind::Data || trace_)
      say("{} <- {} stream {} {} bytes", name(e), static_cast<int>(event.kind), event.stream, event.data.size());
    if (event.kind == EventKind::Ready) return require(!was_ready_[e], "ready twice"), void(was_ready_[e] = true);
    require(was_ready_[e] || event.kind == EventKind::Closed, "an event before ready");
    switch (event.kind) {
      case EventKind::Opened: return on_opened(e, event);
      case EventKind::MoreStreams: return require(e == 0, "more streams for a segment");
      case EventKind::GoingAway: return require(draining_, "GOAWAY, but nobody drains");
      case EventKind::Ready:
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

  void on_stream_event(int e, const Event& event, Side& side, Side& other, std::uint64_t key) {
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
          if (!side.stopped)
            require(side.received == other.sent, "RESET overtook {} bytes", other.sent - side.received);
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

  void on_opened(int e, const Event& event) {
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

  static std::string service_of(std::size_t index) { return fmt::format("service {}", index); }

  void appear(int e, std::size_t index, StreamId stream) {
    Side& side = conversations_[index].sides[e];
    side.exists = true;
    side.stream = stream;
    side.owner = owner_of(e, index);
    side.pending = std::make_unique<ByteQueue>();
  }

  // --- Applications ---

  bool open() {
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

  bool take_turn(int e) {
    if (session(e).output().size() >= ends_[e]->most_output || session(e).is_closed()) return false;
    check_kept(e);
    auto turn = session(e).next_turn();
    if (!turn) return false;
    Side* side = find_side(e, turn->owner);
    require(side && side->stream == turn->stream && !side->over() && !side->sending_done(),
            "a turn of a stream that does not send");
    const Stream* stream = session(e).find(turn->stream);
    require(turn->bytes > 0 && turn->bytes <= stream->credit(), "a turn of {} bytes with credit for {}", turn->bytes,
            stream->credit());
    std::size_t asked = random_.size(turn->bytes);
    Output::Room room = session(e).reserve(*turn, asked);
    require(room.size > 0 && room.size <= asked, "room for {} bytes instead of {}", room.size, asked);
    asked = room.size;
    std::size_t filled = std::min<std::size_t>(side->ready, random_.chance(50) ? asked : random_.size(asked));
    std::uint64_t key = conversations_[turn->owner - owner_of(e, 0)].key + static_cast<unsigned>(1 - e);
    std::size_t done = 0;
    for (int i = 0; i < room.count && done < filled; i++) {
      std::size_t part = std::min(filled - done, room.parts[i].iov_len);
      content().fill(static_cast<std::byte*>(room.parts[i].iov_base), part, key, side->sent + done);
      done += part;
    }
    require(done == filled, "room for {} bytes of {}", done, asked);
    side->sent += filled;
    side->ready -= filled;
    session(e).fill_done(turn->stream, filled, side->ready > 0 || (filled > 0 && random_.chance(50)));
    if (filled > 0) progress();
    return true;
  }

  bool run_application(int e) {
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

  // One thing that the application of a side does now; false when there is none.
  bool live(int e, Side& side) {
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

  bool answer(Side& side) {
    if (side.refuses) return reset(1, side), true;
    say("segment accepts stream {}", side.stream);
    side.accepted = true;
    session(1).accept(side.stream);
    return true;
  }

  void reset(int e, Side& side) {
    say("{} resets stream {} with {}", name(e), side.stream, name_of(side.code));
    side.own_reset = true;
    session(e).reset(side.stream, side.code);
  }

  bool may_read(const Side& side) const { return !side.stalled || only_stalled_left(); }
  bool only_stalled_left() const {
    return std::ranges::all_of(conversations_, [](const Conversation& conversation) {
      bool stalled = conversation.sides[0].stalled || conversation.sides[1].stalled;
      return stalled ? conversation.sides[0].exists || conversation.given_up
                     : is_over(conversation, 0) && is_over(conversation, 1);
    });
  }

  bool read(int e, Side& side) {
    if (side.pending->empty() || !may_read(side)) return false;
    std::size_t part = random_.size(side.pending->size());
    if (random_.chance(30)) part = side.pending->size();
    take_pending(e, side, part);
    if (random_.chance(20)) side.not_before = now_ + side.pause;
    return true;
  }

  void take_pending(int e, Side& side, std::size_t bytes) {
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

  bool write(int e, Side& side) {
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

  // The stream is over: what is left is read or dropped, and the segment counts the work as done.
  bool wind_up(int e, Side& side) {
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

  // Commands that come once more, or too late, change nothing.
  bool repeat_command(int e) {
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

  // --- What must hold ---

  void check() {
    for (int e = 0; e < 2; e++) {
      if (ends_[e]->dead) continue;
      std::size_t live = 0, unreleased = 0;
      std::uint64_t grown = 0;
      for (std::size_t i = 0; i < conversations_.size(); i++) {
        Side& side = conversations_[i].sides[e];
        if (!side.exists) continue;
        unreleased += !side.released;
        const Stream* stream = session(e).find(side.stream);
        require((stream != nullptr) == !side.over(), "stream {} of the {} is {}", side.stream, name(e),
                stream ? "still there" : "gone");
        if (!stream) continue;
        live++;
        grown += stream->window.window() - std::min(stream->window.window(), ends_[e]->limits.initial_window);
        check_stream(e, *stream, side);
        if (!ends_[1 - e]->dead) check_pair(*stream, session(1 - e).find(side.stream));
      }
      require(session(e).stream_count() == live, "the {} has {} streams instead of {}", name(e),
              session(e).stream_count(), live);
      require(grown <= ends_[e]->budget.limit() / 2, "windows of the {} grew by {}, past the budget", name(e), grown);
      if (e == 1) require(unreleased <= ends_[1]->limits.max_streams, "{} streams at once", unreleased);
    }
  }

  void check_stream(int e, const Stream& stream, Side& side) {
    require(stream.sent <= stream.send_limit, "stream {} of the {} sent {} with credit to {}", side.stream, name(e),
            stream.sent, stream.send_limit);
    require(stream.sent == side.sent, "stream {} of the {} counts {} bytes sent, not {}", side.stream, name(e),
            stream.sent, side.sent);
    const ReceiveWindow& window = stream.window;
    side.most_window = std::max<std::uint64_t>(side.most_window, window.window());
    require(window.received() <= window.limit(), "stream {} of the {} received {} past its limit", side.stream, name(e),
            window.received());
    require(window.limit() - window.consumed() <= side.most_window,
            "stream {} of the {} may buffer {}, its window is {}", side.stream, name(e),
            window.limit() - window.consumed(), side.most_window);
    require(side.pending->size() <= side.most_window, "stream {} of the {} buffers {}", side.stream, name(e),
            side.pending->size());
    require(window.received() >= side.received && window.consumed() == side.consumed,
            "stream {} of the {} counts otherwise", side.stream, name(e));
  }

  // What waits for its acknowledgement is bounded, and counted.
  void check_kept(int e) {
    const Output& output = session(e).output();
    std::uint64_t window = std::max<std::uint64_t>(4 * std::uint64_t{kMinWindow}, ends_[e]->budget.limit() / 16);
    require(is_resumable_ || output.kept() == 0, "{} bytes are kept for nobody", output.kept());
    require(output.kept() <= window + Scheduler::kTurn + 64 * 1024, "{} bytes are kept", output.kept());
  }

  // `sender` and `receiver` are the two ends of a stream.
  void check_pair(const Stream& sender, const Stream* receiver) {
    if (!receiver) return;
    require(sender.send_limit <= receiver->window.limit(), "credit that was never granted");
    require(receiver->window.received() <= sender.sent, "bytes that were never sent");
  }

  void check_end() {
    for (Conversation& conversation : conversations_) {
      Side &client = conversation.sides[0], &server = conversation.sides[1];
      for (Side* side : {&client, &server}) require(!side->exists || side->over(), "a stream never ended");
      bool whole = client.exists && server.exists;
      for (Side* side : {&client, &server})
        whole = whole && !(side->was_reset || side->own_reset || side->lost || side->stopped);
      if (whole)
        require(client.received == server.to_send && server.received == client.to_send && client.fin_received &&
                    server.fin_received,
                "a conversation ended early");
      client.pending.reset();
      server.pending.reset();
    }
    bool calm = ending_ != Ending::Cut && ending_ != Ending::BlackHole && ending_ != Ending::Close;
    for (auto& end : ends_) {
      if (calm) require(end->session->stream_count() == 0, "streams are left");
      end->session.reset();
      end->fresh.reset();
      require(end->budget.buffered() == 0, "{} bytes are still counted as buffered", end->budget.buffered());
      require(end->budget.kept() == 0, "{} bytes are still counted as kept", end->budget.kept());
      require(end->budget.reserve(end->budget.limit()), "windows did not give back what they reserved");
      end->budget.release(end->budget.limit());
    }
  }

  std::string unfinished() const {
    std::string text;
    for (std::size_t i = 0; i < conversations_.size(); i++) {
      if (is_over(conversations_[i], 0) && is_over(conversations_[i], 1)) continue;
      for (int e = 0; e < 2; e++) {
        const Side& side = conversations_[i].sides[e];
        text +=
            fmt::format("\n  {} {}: stream {} sent {} of {} ({} ready) received {} read {}{}{}{}{}{}", name(e), i,
                        side.stream, side.sent, side.to_send, side.ready, side.received, side.consumed,
                        side.finished ? " finished" : "", side.fin_received ? " fin-received" : "",
                        side.over() ? " over" : "", side.stalled ? " stalled" : "", side.released ? " released" : "");
      }
    }
    return text;
  }

  static const Content& content() {
    static const Content content;
    return content;
  }

  static constexpr Time kStart{std::chrono::hours(1)};

  Random random_;
  bool trace_;
  Time now_ = kStart, last_progress_ = kStart;
  std::uint64_t steps_ = 0, delivered_ = 0, fingerprint_ = 0;

  std::uint64_t scale_ = 0, tick_ = 1, ends_at_ = kNever;
  std::size_t most_chunk_ = 1;
  Ending ending_ = Ending::Quiet;
  bool draining_ = false, closing_ = false, cut_ = false;
  bool was_ready_[2] = {false, false};
  bool is_resumable_ = false;
  std::vector<std::uint64_t> cuts_;  // steps, the last one first
  Time relink_at_ = Time::max();
  bool is_on_old_link_ = false;  // the segment has not noticed
  Pipe old_pipe_;                // toward it
  std::uint64_t resumed_ = 0;
  LinkCode close_code_ = LinkCode::NoError;

  std::unique_ptr<End> ends_[2];  // the controller and the segment
  Pipe pipes_[2];                 // what each end writes
  std::vector<Conversation> conversations_;
};

}  // namespace

SimulationResult simulate(std::uint64_t seed, bool trace) { return Simulation(seed, trace).run(); }

}  // namespace cloudbus
