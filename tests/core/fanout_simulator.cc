// SPDX-License-Identifier: Apache-2.0
#include "fanout_simulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <stdexcept>
#include <vector>

#include "cloudbus/core/byte_queue.h"
#include "cloudbus/core/session.h"
#include "content.h"
#include "fanout_parties.h"
#include "pipe.h"
#include "random.h"
#include "require.h"
#include "simulated_relay.h"

namespace cloudbus {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kMostSteps = 400'000;
constexpr Duration kStuck = seconds(60);  // without progress, while pings go back and forth
constexpr int kMostParts = 8;             // of a run of data

class FanoutSimulation final : public SimulatedRelay::Host {
 public:
  FanoutSimulation(std::uint64_t seed, bool trace) : random_(seed), trace_(trace), budget_(plan_memory()) {
    plan_scale();
    slots_.resize(random_.pick<std::size_t>({1, 2, 2, 3, 3, 3, 4, 5, 6}));
    for (ServerIndex server = 0; server < slots_.size(); server++) dial(server);
    conversations_.resize(random_.pick<std::size_t>({1, 1, 2, 3}));
    for (std::size_t i = 0; i < conversations_.size(); i++) plan_conversation(i);
  }

  FanoutResult run() {
    FanoutResult result{};
    try {
      while (!is_over()) {
        steps_++;
        if (steps_ == kMostSteps) require(false, "no end in sight: {} steps; {}", steps_, unfinished());
        step();
        check();
      }
      check_end();
    } catch (const std::runtime_error& broken) {
      result.error = broken.what();
    }
    summarize(result);
    return result;
  }

 private:
  enum class Fate { None, Cut, Close, Drain, BlackHole };

  struct End {
    std::unique_ptr<Session> session;  // null once its link is gone
    Pipe pipe;                         // what it writes
    std::size_t most_output = 0;       // bytes, before data waits
    bool was_ready = false;
  };
  struct Link {
    Link(LinkId link, ServerIndex its_server, std::uint64_t memory) : id(link), server(its_server), budget(memory) {}
    LinkId id;
    ServerIndex server;
    Budget budget;  // of the segment
    End ends[2];    // the controller's and the segment's
    Fate fate = Fate::None;
    std::uint64_t fate_at = kNever;  // the step
    bool cut = false, closing = false, draining = false;
    bool is_dead(int e) const { return !ends[e].session; }
  };
  // Where a server's link is to be.
  struct Slot {
    LinkId link = 0;
    bool is_down = false, is_lost = false;  // for now, for ever
    Time dial_at{};
    std::vector<std::pair<std::size_t, LegId>> waiting;  // legs of conversations
  };
  struct Talk {  // a conversation
    Client client;
    SimulatedRelay::Plan plan;
    std::uint64_t starts_at = 0;  // the step
    Time gives_up_at{};
    bool has_started = false, is_over = false;
    std::unique_ptr<SimulatedRelay> relay;
    std::vector<Backend*> backends;    // by leg
    std::optional<FanoutRules> rules;  // of the relay that was
  };

  // Warm for the next simulation: there are many.
  static SlabPool& slabs() {
    static SlabPool pool;
    return pool;
  }

  template <typename... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) const {
    if (trace_)
      fmt::print("{:6} {:>9} us  {}\n", steps_, (now_ - kStart).count(),
                 fmt::format(format, std::forward<Args>(args)...));
  }
  void note(std::uint64_t value) { fingerprint_ = (fingerprint_ ^ value) * 0x100000001B3 + (fingerprint_ >> 29); }
  void progress() { last_progress_ = now_; }

  // --- What is drawn from the seed ---

  std::uint64_t plan_memory() {
    return random_.pick<std::uint64_t>({256 * 1024, 2 * 1024 * 1024, 64 * 1024 * 1024, 64 * 1024 * 1024});
  }

  void plan_scale() {
    scale_ = random_.pick<std::uint64_t>({300, 3'000, 30'000, 120'000, 400'000});
    if (random_.chance(10)) uploads_ = 10;  // so that memory gets short
    most_chunk_ = scale_ < 30'000 ? random_.pick<std::size_t>({1, 40, 1'000, 100'000})
                                  : random_.pick<std::size_t>({1'000, 20'000, 300'000});
    if (uploads_ > 1) {
      scale_ = 400'000;
      most_chunk_ = 300'000;
    }
    tick_ = std::min<std::uint64_t>(most_chunk_, random_.pick<std::uint64_t>({1, 10, 100, 1'000}));
    limits_.initial_window = random_.pick<std::uint32_t>({16'384, 16'384, 20'000, 65'536, 262'144});
    restless_ = random_.chance(40);
    eager_ = random_.chance(15);
    say("memory {}, scale {}, chunks {}, ticks {}", budget_.limit(), scale_, most_chunk_, tick_);
  }

  void plan_conversation(std::size_t index) {
    Talk& talk = conversations_[index];
    Client& client = talk.client;
    client.key = random_.below(Content::kPeriod);
    client.to_send = random_.chance(10) ? 0 : random_.size(scale_ * uploads_);
    client.burst = scale_ / 100 + random_.size(scale_);
    client.buffer = scale_ / 100 + random_.size(random_.chance(30) ? 1'000 : 200'000);
    if (random_.chance(8)) client.reset_after = random_.below(scale_);
    if (random_.chance(8)) client.deaf_after = random_.below(scale_);
    client.waits_for_bytes = random_.chance(15);
    client.waits_for_end = random_.chance(30);
    client.patience = Duration(random_.size(3'000'000));
    if (random_.chance(20)) client.pause = Duration(random_.size(3'000'000));
    if (random_.chance(10)) client.stalled_until = now_ + Duration(random_.size(20'000'000));
    auto servers = static_cast<std::uint32_t>(slots_.size());
    SimulatedRelay::Plan& plan = talk.plan;
    plan.mode = random_.pick(
        {Mode::HalfDuplex, Mode::HalfDuplex, Mode::FullDuplex, Mode::FullDuplex, Mode::Publish, Mode::Balance});
    if (random_.chance(40)) plan.limits.legs = 1 + static_cast<std::uint32_t>(random_.below(servers));
    std::uint32_t legs = plan.limits.legs == 0 ? servers : plan.limits.legs;
    if (plan.mode == Mode::Balance) legs = 1;
    if (random_.chance(50)) plan.limits.quorum = 1 + static_cast<std::uint32_t>(random_.below(legs));
    plan.limits.lag = random_.pick<std::uint64_t>({1'000, 20'000, 64 * 1024, 64 * 1024, 256 * 1024, 16 << 20});
    if (uploads_ > 1 && random_.chance(60)) plan.limits.lag = 16 << 20;
    plan.connect_timeout = random_.pick<Duration>({milliseconds(5), milliseconds(300), seconds(5), seconds(5)});
    talk.starts_at = random_.size(400);
    say("client {}: {}, fanout {}, quorum {}, lag {}, sends {}", index, name_of(plan.mode), plan.limits.legs,
        plan.limits.quorum, plan.limits.lag, client.to_send);
  }

  void dial(ServerIndex server) {
    Slot& slot = slots_[server];
    auto memory = random_.pick<std::uint64_t>({64 * 1024, 1024 * 1024, 64 * 1024 * 1024});
    auto& link = *links_.emplace(next_link_, std::make_unique<Link>(next_link_, server, memory)).first->second;
    slot.link = next_link_++;
    SessionLimits limits = limits_;
    limits.max_streams = random_.pick<std::uint64_t>({1, 2, 40, 40, 40});
    auto capacity = scale_ < 30'000 ? random_.pick<std::size_t>({20, 300, 5'000})
                                    : random_.pick<std::size_t>({5'000, 70'000, 1'000'000});
    if (uploads_ > 1) capacity = std::max<std::size_t>(capacity, 70'000);
    auto delay = random_.pick<Duration>({microseconds(0), microseconds(100), milliseconds(5), milliseconds(100)});
    // A link so slow that what stands before a ping takes seconds would be taken for dead.
    auto slowest = capacity < 1'000 ? Duration(100) : capacity < 50'000 ? milliseconds(5) : milliseconds(100);
    for (int e = 0; e < 2; e++) {
      End& end = link.ends[e];
      end.session = std::make_unique<Session>(e == 0 ? Role::Controller : Role::Segment, Hello{.software = "simulator"},
                                              limits, slabs(), e == 0 ? budget_ : link.budget, now_);
      end.pipe.capacity = capacity;
      end.pipe.delay = std::min<Duration>(slowest, delay);
      end.most_output = random_.size(1024 * 1024);
    }
    if (restless_ && random_.chance(50)) {
      link.fate = random_.pick({Fate::Cut, Fate::Cut, Fate::Cut, Fate::Close, Fate::Drain, Fate::BlackHole});
      link.fate_at = steps_ + random_.size(3'000);
    }
    say("link {} to server {}: capacity {}, delay {} us, max-streams {}, fate {} at {}", link.id, server, capacity,
        link.ends[0].pipe.delay.count(), limits.max_streams, static_cast<int>(link.fate), link.fate_at);
  }

  std::unique_ptr<Backend> plan_backend(LinkId link) {
    auto made = std::make_unique<Backend>();
    Backend& backend = *made;
    backend.link = link;
    backend.key = random_.below(Content::kPeriod);
    backend.to_send = random_.chance(20) ? 0 : random_.size(scale_);
    backend.burst = scale_ / 300 + random_.size(scale_);
    if (random_.chance(8)) backend.reset_after = random_.below(scale_);
    if (random_.chance(8)) backend.stop_after = random_.below(scale_);
    if (random_.chance(20)) backend.pause = Duration(random_.size(3'000'000));
    if (random_.chance(10)) backend.stalled_until = now_ + Duration(random_.size(20'000'000));
    backend.code = static_cast<StreamCode>(random_.below(static_cast<unsigned>(StreamCode::LostRace)));
    backend.refuses = random_.chance(15);
    if (backend.refuses)
      backend.code = random_.pick({StreamCode::UnknownService, StreamCode::ConnectFailed, StreamCode::ConnectTimeout,
                                   StreamCode::Overload, StreamCode::NoDescriptors, StreamCode::GoingAway});
    backend.accepts_at = now_;
    if (random_.chance(30)) backend.accepts_at = now_ + Duration(random_.size(1'000'000));
    if (random_.chance(5)) backend.accepts_at = Time::max();
    backend.waits_for_fin = random_.chance(20);
    backend.waits_for_bytes = random_.chance(40);
    if (random_.chance(30)) backend.not_before = now_ + Duration(random_.size(500'000));
    if (eager_ && random_.chance(70)) {
      backend.to_send = random_.size(200);
      backend.waits_for_fin = backend.waits_for_bytes = false;
      if (random_.chance(50)) backend.stop_after = 0;
    }
    return made;
  }

  // --- Steps ---

  void step() {
    for (auto& [id, link] : links_) {
      if (steps_ == link->fate_at) meet_fate(*link);
      for (int e = 0; e < 2; e++) look_at_time(*link, e);
    }
    for (Talk& talk : conversations_)
      if (talk.relay) talk.relay->on_time();
    for (ServerIndex server = 0; server < slots_.size(); server++) look_at_slot(server);
    reap();
    std::uint64_t actions = links_.size() * kLinkActions + 2 * conversations_.size();
    std::uint64_t first = random_.below(actions);
    bool acted = false;
    for (std::uint64_t i = 0; i < actions && !acted; i++) acted = act((first + i) % actions);
    reap();
    if (acted)
      now_ += Duration(random_.below(tick_));
    else
      wait();
  }

  static constexpr std::uint64_t kLinkActions = 8;

  bool act(std::uint64_t action) {
    if (action >= links_.size() * kLinkActions) {
      action -= links_.size() * kLinkActions;
      Talk& talk = conversations_[action / 2];
      return talk.has_started ? run_client(talk) : start(talk);
    }
    Link& link = *std::next(links_.begin(), static_cast<std::ptrdiff_t>(action / kLinkActions))->second;
    int e = static_cast<int>(action % 2);
    if (link.is_dead(e)) return false;
    switch (action % kLinkActions / 2) {
      case 0: return pump(link, e);
      case 1: return deliver(link, e);
      case 2: return e == 0 ? take_turn(link) : take_backend_turn(link);
      case 3: return e == 1 && run_backends(link);
    }
    return false;
  }

  // Nothing can be done now: on to what happens next.
  void wait() {
    if (is_over()) return;
    for (Talk& talk : conversations_)
      if (std::exchange(talk.starts_at, 0) > steps_) return;
    Time next = Time::max();
    auto consider = [&](Time at) {
      if (at > now_) next = std::min(next, at);
    };
    for (auto& [id, link] : links_)
      for (int e = 0; e < 2; e++) {
        if (link->is_dead(e)) continue;
        consider(link->ends[e].session->next_deadline());
        consider(link->ends[1 - e].pipe.next_arrival());
      }
    for (auto& backend : backends_)
      if (!backend->over() || !backend->released)
        for (Time at : {backend->not_before, backend->accepts_at, backend->stalled_until}) consider(at);
    for (Talk& talk : conversations_) {
      if (talk.is_over) continue;
      for (Time at : {talk.client.not_before, talk.client.stalled_until, talk.client.gives_up_at, talk.gives_up_at})
        consider(at);
      if (talk.relay) consider(talk.relay->next_deadline());
    }
    for (Slot& slot : slots_) consider(slot.dial_at);
    if (next == Time::max()) require(false, "nothing will ever happen again; {}", unfinished());
    now_ = next;
    if (now_ - last_progress_ > kStuck) require(false, "stuck: no progress for a minute; {}", unfinished());
  }

  // Relays that are closed leave nothing behind.
  void reap() {
    for (Talk& talk : conversations_) {
      if (!talk.relay || !talk.relay->is_closed()) continue;
      OwnerId owner = talk.relay->owner();
      for (auto& [id, link] : links_) {
        if (link->is_dead(0)) continue;
        link->ends[0].session->for_each_stream([&](StreamId stream, OwnerId other) {
          require(whole_owner(other) != owner, "stream {} of link {} outlives its client", stream, id);
        });
      }
      talk.rules = talk.relay->rules();
      talk.relay.reset();
      talk.is_over = true;
      progress();
    }
    std::erase_if(links_, [](const auto& entry) { return entry.second->is_dead(0) && entry.second->is_dead(1); });
  }

  // --- Links ---

  Time now() const override { return now_; }
  bool is_tracing() const override { return trace_; }
  void tell(const SimulatedRelay& relay, const std::string& what) override { say("client {} {}", relay.index(), what); }

  Session* find_session(LinkId id) override {
    auto found = links_.find(id);
    return found == links_.end() ? nullptr : found->second->ends[0].session.get();
  }

  // The link of a server that takes one more stream.
  Link* pick(ServerIndex server) {
    auto found = links_.find(slots_[server].link);
    if (found == links_.end() || found->second->is_dead(0)) return nullptr;
    return found->second->ends[0].session->can_open() ? found->second.get() : nullptr;
  }

  void open_leg(SimulatedRelay& relay, LegId leg, ServerIndex server) override {
    if (Link* link = pick(server)) return relay.open_leg_on(leg, link->id, *link->ends[0].session);
    if (slots_[server].is_down) return relay.on_reset(leg, StreamCode::ConnectFailed);
    slots_[server].waiting.emplace_back(relay.index(), leg);
  }

  void serve_waiting(ServerIndex server) {
    Slot& slot = slots_[server];
    while (!slot.waiting.empty()) {
      Link* link = pick(server);
      if (!link) return;
      auto [index, leg] = slot.waiting.front();
      slot.waiting.erase(slot.waiting.begin());
      SimulatedRelay* relay = conversations_[index].relay.get();
      if (relay && relay->is_waiting(leg)) relay->open_leg_on(leg, link->id, *link->ends[0].session);
    }
  }

  void give_up_legs(ServerIndex server) {
    auto waiting = std::exchange(slots_[server].waiting, {});
    for (auto [index, leg] : waiting) {
      SimulatedRelay* relay = conversations_[index].relay.get();
      if (relay && relay->is_waiting(leg)) relay->on_reset(leg, StreamCode::ConnectFailed);
    }
  }

  void look_at_slot(ServerIndex server) {
    Slot& slot = slots_[server];
    if (slot.link == 0 && !slot.is_lost && slot.dial_at <= now_) dial(server);
  }

  void look_at_time(Link& link, int e) {
    if (link.is_dead(e)) return;
    Session& session = *link.ends[e].session;
    session.on_time(now_);
    if (session.is_closed()) on_closed(link, e);
  }

  void meet_fate(Link& link) {
    if (link.is_dead(0) || link.is_dead(1) || link.closing) return;
    Session& segment = *link.ends[1].session;
    switch (link.fate) {
      case Fate::None: return;
      case Fate::Cut:
        say("link {} is cut", link.id);
        link.cut = true;
        for (End& end : link.ends) {
          if (random_.chance(50)) end.pipe.discard();
          end.pipe.ended = true;
        }
        for (int e = 0; e < 2; e++)
          if (link.ends[1 - e].pipe.size() == 0 || random_.chance(30)) lose_link(link, e);
        return;
      case Fate::Close:
        say("link {} is closed", link.id);
        link.closing = true;
        segment.close(LinkCode::Shutdown, "the simulation closes it");
        return on_closed(link, 1);
      case Fate::Drain:
        if (!segment.is_ready()) return void(link.fate_at = steps_ + 1);
        say("link {} drains", link.id);
        link.draining = true;
        segment.drain(now_);
        return;
      case Fate::BlackHole: {
        say("link {} swallows", link.id);
        int e = static_cast<int>(random_.below(2));
        link.ends[e].pipe.swallows = true;
        if (random_.chance(50)) link.ends[1 - e].pipe.swallows = true;
        return;
      }
    }
  }

  bool pump(Link& link, int e) {
    Output& output = link.ends[e].session->output();
    Pipe& pipe = link.ends[e].pipe;
    std::size_t space = std::min(pipe.space(), output.size());
    if (space == 0) return false;
    write(output, pipe, random_.size(space));
    link.ends[e].session->on_written(now_);
    return true;
  }

  void write(Output& output, Pipe& pipe, std::size_t most) {
    iovec parts[4];
    int count = output.gather(parts, 4);
    std::size_t put = 0;
    for (int i = 0; i < count && put < most; i++) {
      std::size_t length = std::min(parts[i].iov_len, most - put);
      pipe.push({static_cast<const std::byte*>(parts[i].iov_base), length}, now_);
      put += length;
    }
    output.consume(put);
  }

  bool deliver(Link& link, int e) {
    Pipe& pipe = link.ends[1 - e].pipe;
    if (pipe.size() == 0 && pipe.ended) return lose_link(link, e), true;
    if (pipe.next_arrival() > now_) return false;
    auto bytes = pipe.pop(random_.size(most_chunk_), now_);
    Bytes input(bytes);
    note(input.size());
    Session& session = *link.ends[e].session;
    while (auto event = session.receive(input, now_)) {
      note(static_cast<std::uint64_t>(event->kind) * 31 + event->stream);
      note(event->data.size());
      if (event->kind != EventKind::Ready && event->kind != EventKind::MoreStreams) progress();
      e == 0 ? dispatch(link, *event) : on_segment_event(link, *event);
    }
    if (e == 0) flush_run();
    if (session.is_closed())
      on_closed(link, e);
    else
      require(input.empty(), "link {} left {} bytes untaken", link.id, input.size());
    return true;
  }

  // The session of an end is over, by itself or by its peer: that was meant to happen, or it did not.
  void on_closed(Link& link, int e) {
    const Closed& closed = link.ends[e].session->closed();
    say("link {} was closed at end {}: {} {}", link.id, e, name_of(closed.error.code), closed.error.reason);
    bool timed_out = closed.error.code == LinkCode::PingTimeout || closed.error.code == LinkCode::HandshakeTimeout;
    bool meant = link.closing || (link.fate == Fate::BlackHole && steps_ >= link.fate_at && timed_out);
    require(meant, "link {} closed its session: {}: {}", link.id, name_of(closed.error.code), closed.error.reason);
    lose_link(link, e);
  }

  // The end's link is gone; what it wrote may still arrive. Its session is no more: whoever touches it is found out.
  void lose_link(Link& link, int e) {
    if (link.is_dead(e)) return;
    say("link {} is lost at end {}", link.id, e);
    progress();
    std::vector<OwnerId> owners;
    auto session = std::exchange(link.ends[e].session, nullptr);
    session->for_each_stream([&](StreamId, OwnerId owner) { owners.push_back(owner); });
    std::ranges::sort(owners);
    End& end = link.ends[e];
    end.pipe.capacity = kNever;
    while (!link.cut && !session->output().empty()) write(session->output(), end.pipe, kNever);
    end.pipe.ended = true;
    link.ends[1 - e].pipe.discard();
    session.reset();
    if (e == 1) return lose_backends(link, owners);
    for (OwnerId owner : owners) {
      SimulatedRelay* relay = find_relay(owner);
      require(relay, "a stream of nobody: {}", owner);
      relay->on_reset(leg_of(owner), StreamCode::LinkLost);
    }
    Slot& slot = slots_[link.server];
    if (slot.link != link.id) return;  // it was draining
    slot.link = 0;
    slot.is_down = true;
    slot.is_lost = random_.chance(20);
    slot.dial_at = now_ + Duration(random_.size(1'000'000));
    give_up_legs(link.server);
  }

  void lose_backends(Link& link, const std::vector<OwnerId>& owners) {
    for (OwnerId owner : owners) backend_of(owner).lost = true;
    for (auto& backend : backends_) {
      if (backend->link != link.id) continue;
      require(backend->over(), "a stream of link {} is not over, and was not told", link.id);
      backend->pending.reset();
      backend->released = true;
    }
  }

  // --- The controller ---

  SimulatedRelay* find_relay(OwnerId owner) {
    std::size_t index = static_cast<std::size_t>(whole_owner(owner)) - 1;
    require(index < conversations_.size(), "an owner that never was: {}", owner);
    return conversations_[index].relay.get();
  }

  // Data of one leg is handed on in runs, as Worker does.
  void dispatch(Link& link, const Event& event) {
    if (event.kind == EventKind::Data) return add_to_run(event.owner, event.data, event.ends_frame);
    flush_run();
    if (event.kind != EventKind::MoreStreams)
      say("link {} -> {} of stream {}", link.id, static_cast<int>(event.kind), event.stream);
    SimulatedRelay* relay = event.owner == 0 ? nullptr : find_relay(event.owner);
    LegId leg = leg_of(event.owner);
    switch (event.kind) {
      case EventKind::Ready:
        link.ends[0].was_ready = true;
        slots_[link.server].is_down = false;
        return serve_waiting(link.server);
      case EventKind::MoreStreams: return serve_waiting(link.server);
      case EventKind::GoingAway:
        require(link.draining, "GOAWAY, but nobody drains");
        if (slots_[link.server].link == link.id) slots_[link.server].link = 0;
        return;
      case EventKind::Accepted: return relay->on_accepted(leg);
      case EventKind::Finished: return relay->on_finished(leg);
      case EventKind::Stopped: return relay->on_stopped(leg, event.code);
      case EventKind::Reset: return relay->on_reset(leg, event.code);
      case EventKind::Opened:
      case EventKind::Data:
      case EventKind::Closed: return;
    }
  }

  void add_to_run(OwnerId leg, Bytes part, bool ends_frame) {
    if (leg != run_leg_ || run_.size() == kMostParts) flush_run();
    run_leg_ = leg;
    run_part_ = ends_frame ? 0 : run_part_ + part.size();
    run_.push_back({const_cast<std::byte*>(part.data()), part.size()});
    run_size_ += part.size();
  }

  void flush_run() {
    if (run_.empty()) return;
    auto parts = std::exchange(run_, {});
    std::size_t size = std::exchange(run_size_, 0), part = std::exchange(run_part_, 0);
    SimulatedRelay* relay = find_relay(run_leg_);
    require(relay, "data for a client that has gone");
    relay->on_data(leg_of(run_leg_), parts.data(), static_cast<int>(parts.size()), size, part);
  }

  bool take_turn(Link& link) {
    Session& session = *link.ends[0].session;
    if (session.output().size() >= link.ends[0].most_output || session.is_closed()) return false;
    auto turn = session.next_turn();
    if (!turn) return false;
    SimulatedRelay* relay = find_relay(turn->owner);
    require(relay, "a turn of a client that has gone");
    bool has_moved = relay->fill(session, *turn, leg_of(turn->owner));
    const Stream* stream = session.find(turn->stream);
    if (has_moved) progress();
    require(has_moved || !stream || !stream->wants, "stream {} of link {} wants turns and uses none", turn->stream,
            link.id);
    return true;
  }

  bool start(Talk& talk) {
    if (talk.is_over || steps_ < talk.starts_at) return false;
    std::vector<ServerIndex> order;
    for (ServerIndex server = 0; server < slots_.size(); server++)
      if (!slots_[server].is_down) order.push_back(server);
    if (order.size() < talk.plan.limits.quorum) return give_up(talk);
    for (std::size_t i = order.size(); i > 1; i--) std::swap(order[i - 1], order[random_.below(i)]);
    talk.plan.order = order;
    talk.has_started = true;
    auto index = static_cast<std::size_t>(&talk - conversations_.data());
    say("client {} begins", index);
    talk.relay = std::make_unique<SimulatedRelay>(*this, index, talk.client, talk.plan, slabs(), budget_, random_);
    talk.client.gives_up_at = now_ + talk.client.patience;
    talk.relay->start();
    progress();
    return true;
  }

  // There are not enough servers: perhaps later.
  bool give_up(Talk& talk) {
    if (talk.gives_up_at == Time{}) talk.gives_up_at = now_ + seconds(5);
    if (now_ < talk.gives_up_at) return false;
    progress();
    return talk.is_over = true;
  }

  // --- Clients ---

  bool is_answer(const SimulatedRelay& relay, LegId leg, std::uint64_t offset, Bytes bytes) const override {
    const Talk& talk = conversations_[relay.index()];
    const Backend* backend = leg < talk.backends.size() ? talk.backends[leg] : nullptr;
    return backend && offset + bytes.size() <= backend->sent && content().matches(bytes, backend->key, offset);
  }

  void take_from_client(const SimulatedRelay& relay, std::uint64_t offset, std::byte* out,
                        std::size_t size) const override {
    content().fill(out, size, conversations_[relay.index()].client.key, offset);
  }

  // One thing that a client does now; false when there is none.
  bool run_client(Talk& talk) {
    Client& client = talk.client;
    if (!talk.relay || client.not_before > now_ || client.has_reset) return false;
    bool acted = reset_client(talk) || (random_.chance(50) && read_as_client(talk)) || write_as_client(talk) ||
                 read_as_client(talk);
    if (acted) progress();
    if (acted && random_.chance(20)) client.not_before = now_ + client.pause;
    return acted;
  }

  bool reset_client(Talk& talk) {
    Client& client = talk.client;
    if (client.sent + client.received < client.reset_after || client.was_reset) return false;
    if (client.fin_received && client.fin_sent) return false;
    say("client {} resets", talk.relay->index());
    client.has_reset = true;
    talk.relay->on_client_reset();
    return true;
  }

  bool read_as_client(Talk& talk) {
    Client& client = talk.client;
    if (client.read >= client.deaf_after && !client.is_deaf) {
      say("client {} reads no more", talk.relay->index());
      client.is_deaf = true;
      talk.relay->on_client_read();  // it finds out
      return true;
    }
    if (client.read == client.received || client.is_deaf || client.stalled_until > now_) return false;
    bool was_full = client.space() == 0;
    client.read += random_.chance(50) ? client.received - client.read : random_.size(client.received - client.read);
    if (was_full) talk.relay->on_client_read();
    return true;
  }

  bool write_as_client(Talk& talk) {
    Client& client = talk.client;
    if (client.fin_sent || client.was_reset) return false;
    bool may_wait = now_ < client.gives_up_at && !client.fin_received;
    if (client.sent == client.to_send) {
      if (client.waits_for_end && may_wait) return false;
      say("client {} has sent all {}", talk.relay->index(), client.sent);
      client.fin_sent = true;
    } else {
      if (client.waits_for_bytes && client.received == 0 && may_wait) return false;
      if (client.sent - client.taken >= kSocketBuffer) return false;
      std::uint64_t most = std::min(client.to_send - client.sent, kSocketBuffer - (client.sent - client.taken));
      client.sent += std::min(random_.size(client.burst), most);
    }
    talk.relay->on_client_wrote();
    return true;
  }

  // --- Segments and what is behind them ---

  Backend& backend_of(OwnerId owner) { return *backends_.at(static_cast<std::size_t>(owner) - 1); }

  void on_segment_event(Link& link, const Event& event) {
    if (event.kind == EventKind::Opened) return on_opened(link, event);
    if (event.stream == 0) return;
    Backend& backend = backend_of(event.owner);
    require(backend.stream == event.stream && !backend.over(), "an event of stream {}, which is over", event.stream);
    Talk& talk = conversations_[backend.conversation];
    switch (event.kind) {
      case EventKind::Data:
        require(content().matches(event.data, talk.client.key, backend.received),
                "leg {} of client {} gets other bytes than were sent, at {}", backend.leg, backend.conversation,
                backend.received);
        backend.received += event.data.size();
        require(backend.received <= talk.client.taken, "leg {} gets more than was sent", backend.leg);
        backend.pending->push(event.data, link.budget);
        up_ += event.data.size();
        return;
      case EventKind::Finished:
        require(rules_of(talk).has_fin() && backend.received == rules_of(talk).read(),
                "a clean end of leg {} after {} bytes of {}", backend.leg, backend.received, rules_of(talk).read());
        backend.fin_received = true;
        return;
      case EventKind::Stopped:
        backend.stopped_by_peer = true;
        backend.ready = 0;
        return;
      case EventKind::Reset:
        require(!talk.relay || rules_of(talk).leg(backend.leg).dropped, "RESET of leg {} by nobody", backend.leg);
        backend.was_reset = true;
        return;
      default: return;
    }
  }

  const FanoutRules& rules_of(const Talk& talk) const { return talk.relay ? talk.relay->rules() : *talk.rules; }

  void on_opened(Link& link, const Event& event) {
    backends_.push_back(plan_backend(link.id));
    Backend& backend = *backends_.back();
    const std::string& name = event.request->service;  // "2 1": leg 1 of client 2
    backend.conversation = std::stoul(name);
    backend.leg = static_cast<LegId>(std::stoul(name.substr(name.find(' '))));
    backend.exists = true;
    backend.stream = event.stream;
    backend.owner = backends_.size();
    backend.pending = std::make_unique<ByteQueue>();
    link.ends[1].session->adopt(event.stream, backend.owner);
    Talk& talk = conversations_[backend.conversation];
    talk.backends.resize(std::max<std::size_t>(talk.backends.size(), backend.leg + 1));
    require(!talk.backends[backend.leg], "leg {} is opened twice", backend.leg);
    talk.backends[backend.leg] = &backend;
    if (talk.relay) talk.relay->rules().on_backend(backend.leg, backend);
    say("server {} has leg {} of client {}: sends {}{}{}{}", link.server, backend.leg, backend.conversation,
        backend.to_send, backend.refuses ? ", refuses" : "", backend.waits_for_fin ? ", waits for FIN" : "",
        backend.waits_for_bytes ? ", waits for bytes" : "");
  }

  bool run_backends(Link& link) {
    if (link.ends[1].session->is_drained() && !link.closing) {
      link.closing = true;
      link.ends[1].session->close(LinkCode::NoError, "drained");
      return on_closed(link, 1), true;
    }
    std::size_t first = backends_.empty() ? 0 : random_.below(backends_.size());
    for (std::size_t i = 0; i < backends_.size(); i++) {
      Backend& backend = *backends_[(first + i) % backends_.size()];
      if (backend.link != link.id || backend.not_before > now_) continue;
      if (!live(link, backend)) continue;
      progress();
      return true;
    }
    return false;
  }

  // One thing that a server does now; false when there is none.
  bool live(Link& link, Backend& backend) {
    Session& session = *link.ends[1].session;
    if (backend.over()) return wind_up(session, backend);
    if (!backend.accepted) return answer(session, backend);
    if (backend.sent + backend.received >= backend.reset_after) return reset(session, backend), true;
    if (!backend.receiving_done() && backend.consumed >= backend.stop_after) {
      say("leg {} of client {}: the server reads no more", backend.leg, backend.conversation);
      backend.stopped = true;
      session.stop(backend.stream, backend.code);
      return true;
    }
    if (random_.chance(50) && read(session, backend)) return true;
    return write(session, backend) || read(session, backend);
  }

  bool answer(Session& session, Backend& backend) {
    if (backend.accepts_at > now_) return false;
    if (backend.refuses) return reset(session, backend), true;
    backend.accepted = true;
    session.accept(backend.stream);
    return true;
  }

  void reset(Session& session, Backend& backend) {
    say("leg {} of client {}: the server resets with {}", backend.leg, backend.conversation, name_of(backend.code));
    backend.own_reset = true;
    session.reset(backend.stream, backend.code);
  }

  bool read(Session& session, Backend& backend) {
    if (backend.pending->empty() || backend.stalled_until > now_) return false;
    take_pending(session, backend,
                 random_.chance(30) ? backend.pending->size() : random_.size(backend.pending->size()));
    if (random_.chance(20)) backend.not_before = now_ + backend.pause;
    return true;
  }

  void take_pending(Session& session, Backend& backend, std::size_t bytes) {
    backend.pending->pop(bytes);
    backend.consumed += bytes;
    session.consumed(backend.stream, bytes, now_);
  }

  bool write(Session& session, Backend& backend) {
    bool waits = (backend.waits_for_fin && !backend.receiving_done()) ||
                 (backend.waits_for_bytes && backend.received == 0 && !backend.receiving_done());
    if (backend.sending_done() || waits) return false;
    if (backend.sent == backend.to_send) {
      if (backend.to_send == 0 && !backend.receiving_done()) return false;  // it has nothing to say, to the end
      say("leg {} of client {}: the server has sent all {}", backend.leg, backend.conversation, backend.sent);
      backend.finished = true;
      session.finish(backend.stream);
      return true;
    }
    if (backend.ready > 0) return false;
    backend.ready = std::min(random_.size(backend.burst), backend.to_send - backend.sent);
    session.want(backend.stream);
    if (random_.chance(20)) backend.not_before = now_ + backend.pause;
    return true;
  }

  bool take_backend_turn(Link& link) {
    Session& session = *link.ends[1].session;
    if (session.output().size() >= link.ends[1].most_output || session.is_closed()) return false;
    auto turn = session.next_turn();
    if (!turn) return false;
    Backend& backend = backend_of(turn->owner);
    std::size_t most =
        std::min<std::size_t>(backend.ready, random_.chance(50) ? turn->bytes : random_.size(turn->bytes));
    Output::Room room = session.reserve(*turn, std::max<std::size_t>(most, 1));
    std::size_t filled = std::min(most, room.size), done = 0;
    for (int i = 0; i < room.count && done < filled; i++) {
      std::size_t part = std::min(filled - done, room.parts[i].iov_len);
      content().fill(static_cast<std::byte*>(room.parts[i].iov_base), part, backend.key, backend.sent);
      backend.sent += part;
      backend.frame_ends.push_back(backend.sent);
      done += part;
    }
    backend.ready -= filled;
    session.fill_done(turn->stream, filled, backend.ready > 0);
    if (filled > 0) progress();
    return true;
  }

  // The stream is over: what is left is read or dropped, and the segment counts the work as done.
  bool wind_up(Session& session, Backend& backend) {
    if (!backend.pending->empty()) {
      if (backend.stalled_until > now_ && !backend.was_reset && !backend.own_reset) return false;
      take_pending(session, backend, backend.pending->size());
      return true;
    }
    if (backend.released) return false;
    backend.released = true;
    session.release();
    return true;
  }

  // --- What must hold ---

  void check() {
    std::uint64_t buffered = 0;
    for (Talk& talk : conversations_) {
      if (!talk.relay) continue;
      talk.relay->check();
      buffered += talk.relay->buffered();
    }
    require(budget_.buffered() == buffered, "{} bytes are counted as buffered, but {} are", budget_.buffered(),
            buffered);
    for (auto& backend : backends_) check_backend(*backend);
  }

  void check_backend(const Backend& backend) const {
    auto found = links_.find(backend.link);
    if (found == links_.end() || found->second->is_dead(1)) return;
    const Stream* stream = found->second->ends[1].session->find(backend.stream);
    require((stream != nullptr) == !backend.over(), "stream {} is {}", backend.stream, stream ? "still there" : "gone");
  }

  bool is_over() const {
    auto has_ended = [](const Talk& talk) { return talk.is_over; };
    auto is_idle = [](const auto& entry) {
      return std::ranges::all_of(entry.second->ends,
                                 [](const End& end) { return !end.session || end.session->stream_count() == 0; });
    };
    auto is_done = [](const auto& backend) { return backend->over() && backend->released; };
    return std::ranges::all_of(conversations_, has_ended) && std::ranges::all_of(links_, is_idle) &&
           std::ranges::all_of(backends_, is_done);
  }

  void check_end() {
    for (Talk& talk : conversations_)
      if (talk.rules) check_conversation(talk);
    for (auto& backend : backends_) backend->pending.reset();
    for (auto& [id, link] : links_) {
      for (End& end : link->ends) end.session.reset();
      check_budget(link->budget);
    }
    check_budget(budget_);
  }

  static void check_budget(Budget& budget) {
    require(budget.buffered() == 0, "{} bytes are still counted as buffered", budget.buffered());
    require(budget.reserve(budget.limit()), "windows did not give back what they reserved");
    budget.release(budget.limit());
  }

  // A leg that ended cleanly has carried everything, and no server's work was done by more legs than there are to be.
  void check_conversation(const Talk& talk) const {
    const FanoutRules& rules = *talk.rules;
    const Client& client = talk.client;
    require(client.was_reset || client.has_reset || (client.fin_received && client.fin_sent), "a client never ended");
    std::size_t served = 0;
    for (const Backend* backend : talk.backends) {
      if (!backend) continue;
      served += backend->accepted && backend->received > 0;
      const FanoutRules::Known& leg = rules.leg(backend->leg);
      if (leg.is_gone() || backend->lost || backend->own_reset || !leg.was_finished || backend->stopped) continue;
      require(backend->fin_received && backend->received == rules.read(), "leg {} of a client never got all",
              backend->leg);
    }
    std::size_t most = talk.plan.limits.legs == 0 ? talk.plan.order.size() : talk.plan.limits.legs;
    if (talk.plan.mode == Mode::Balance) most = 1;
    require(served <= most, "{} servers did the work of {}", served, most);
  }

  std::string unfinished() const {
    std::string text;
    for (std::size_t i = 0; i < conversations_.size(); i++) {
      const Talk& talk = conversations_[i];
      if (talk.is_over) continue;
      const Client& client = talk.client;
      text += fmt::format("\n  client {}: {} sent {} of {}, taken {}, received {}, read {}{}{}{}{}", i,
                          name_of(talk.plan.mode), client.sent, client.to_send, client.taken, client.received,
                          client.read, client.fin_sent ? " fin-sent" : "", client.fin_received ? " fin-received" : "",
                          client.is_deaf ? " deaf" : "", client.has_reset ? " has-reset" : "");
      if (!talk.relay) continue;
      const Fanout& fanout = talk.relay->fanout();
      for (LegId leg = 0; leg < fanout.leg_count(); leg++)
        text += fmt::format("\n    leg {}: state {} sent {} held {}", leg, static_cast<int>(fanout.leg(leg).state),
                            fanout.leg(leg).sent, fanout.leg(leg).held.size());
    }
    for (auto& backend : backends_) {
      if (backend->over() && backend->released) continue;
      text += fmt::format("\n  server of leg {} of client {}: sent {} of {} ({} ready) received {} read {}{}{}{}",
                          backend->leg, backend->conversation, backend->sent, backend->to_send, backend->ready,
                          backend->received, backend->consumed, backend->accepted ? " accepted" : "",
                          backend->finished ? " finished" : "", backend->fin_received ? " fin-received" : "");
    }
    return text;
  }

  void summarize(FanoutResult& result) const {
    result.fingerprint = fingerprint_;
    result.steps = steps_;
    result.up = up_;
    for (const Talk& talk : conversations_) {
      result.down += talk.client.received;
      if (!talk.rules) continue;
      const FanoutRules& rules = *talk.rules;
      result.conversations++;
      result.clean_ends += talk.client.fin_received && !talk.client.was_reset;
      result.resets += talk.client.was_reset;
      result.winners += rules.winner.has_value();
      result.no_quorums += rules.had_no_quorum;
      result.replaced += rules.was_replaced;
      result.lagging += rules.was_lagging;
      result.waits += rules.was_waiting;
      result.lost_links += rules.was_cut;
      bool has_loser = false;
      for (LegId leg = 0; leg < rules.leg_count(); leg++)
        has_loser = has_loser || rules.leg(leg).code == StreamCode::LostRace;
      result.losers += has_loser;
    }
  }

  static const Content& content() {
    static const Content content;
    return content;
  }

  static constexpr Time kStart{std::chrono::hours(1)};
  static constexpr std::uint64_t kSocketBuffer = 300'000;

  Random random_;
  bool trace_;
  Time now_ = kStart, last_progress_ = kStart;
  std::uint64_t steps_ = 0, up_ = 0, fingerprint_ = 0;

  Budget budget_;  // of the controller
  SessionLimits limits_;
  std::uint64_t scale_ = 0, tick_ = 1;
  std::uint64_t uploads_ = 1;  // how much more than a server a client sends
  std::size_t most_chunk_ = 1;
  bool restless_ = false;  // links meet their fates
  bool eager_ = false;     // servers say little, at once, and many of them read nothing

  LinkId next_link_ = 1;
  std::map<LinkId, std::unique_ptr<Link>> links_;
  std::vector<Slot> slots_;  // by server
  std::vector<std::unique_ptr<Backend>> backends_;
  std::vector<Talk> conversations_;

  std::vector<iovec> run_;
  OwnerId run_leg_ = 0;
  std::size_t run_size_ = 0, run_part_ = 0;
};

}  // namespace

FanoutResult simulate_fanout(std::uint64_t seed, bool trace) { return FanoutSimulation(seed, trace).run(); }

}  // namespace cloudbus
