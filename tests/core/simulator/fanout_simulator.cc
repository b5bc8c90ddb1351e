// SPDX-License-Identifier: Apache-2.0
#include "core/simulator/fanout_simulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <stdexcept>
#include <vector>

#include "core/require.h"
#include "core/simulator/fanout_relay.h"
#include "core/simulator/fanout_world.h"
#include "core/simulator/simulated_application.h"
#include "core/simulator/simulated_link.h"
#include "core/simulator/simulated_server.h"

namespace cloudbus {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kMostSteps = 400'000;
constexpr Duration kStuck = seconds(60);  // without progress, while pings go back and forth
constexpr int kMostParts = 8;             // of a run of data

class FanoutSimulation final : public FanoutRelay::Host {
 public:
  FanoutSimulation(std::uint64_t seed, bool trace) : world_(seed, trace), budget_((world_.plan(), world_.memory)) {
    slots_.resize(random().pick<std::size_t>({1, 2, 2, 3, 3, 3, 4, 5, 6}));
    for (ServerIndex server = 0; server < slots_.size(); server++) dial(server);
    auto conversations = random().pick<std::size_t>({1, 1, 2, 3});
    for (std::size_t i = 0; i < conversations; i++) plan_conversation(i);
  }

  FanoutResult run() {
    FanoutResult result{};
    try {
      while (!is_over()) {
        world_.steps++;
        if (world_.steps == kMostSteps) require(false, "no end in sight: {} steps; {}", kMostSteps, unfinished());
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
  // Where a server's link is to be.
  struct Slot {
    LinkId link = 0;
    bool is_down = false, is_lost = false;  // for now, for ever
    Time dial_at{};
    std::vector<std::pair<std::size_t, LegId>> waiting;  // legs of conversations
  };
  struct Conversation {
    Conversation(FanoutWorld& world, std::size_t index) : client(world, fmt::format("client {}", index)) {}
    SimulatedApplication client;
    Duration patience{};  // with which it waits for the other side
    FanoutRelay::Plan plan;
    std::uint64_t starts_at = 0;  // the step
    Time gives_up_at{};
    bool has_started = false, is_over = false;
    std::unique_ptr<FanoutRelay> relay;
    std::vector<SimulatedServer*> servers;  // by leg
    std::optional<FanoutRules> rules;       // of the relay that was
  };

  Random& random() { return world_.random; }

  void plan_conversation(std::size_t index) {
    auto& conversation = *conversations_.emplace_back(std::make_unique<Conversation>(world_, index));
    plan_client(conversation);
    auto servers = static_cast<std::uint32_t>(slots_.size());
    FanoutRelay::Plan& plan = conversation.plan;
    plan.mode = random().pick(
        {Mode::HalfDuplex, Mode::HalfDuplex, Mode::FullDuplex, Mode::FullDuplex, Mode::Publish, Mode::Balance});
    if (random().chance(40)) plan.limits.legs = 1 + static_cast<std::uint32_t>(random().below(servers));
    std::uint32_t legs = plan.limits.legs == 0 ? servers : plan.limits.legs;
    if (plan.mode == Mode::Balance) legs = 1;
    if (random().chance(50)) plan.limits.quorum = 1 + static_cast<std::uint32_t>(random().below(legs));
    plan.limits.lag = random().pick<std::uint64_t>({1'000, 20'000, 64 * 1024, 64 * 1024, 256 * 1024, 16 << 20});
    if (world_.uploads > 1 && random().chance(60)) plan.limits.lag = 16 << 20;
    plan.connect_timeout = random().pick<Duration>({milliseconds(5), milliseconds(300), seconds(5), seconds(5)});
    conversation.starts_at = random().size(400);
    world_.say("client {}: {}, fanout {}, quorum {}, lag {}, sends {}", index, name_of(plan.mode), plan.limits.legs,
               plan.limits.quorum, plan.limits.lag, conversation.client.to_send);
  }

  void plan_client(Conversation& conversation) {
    SimulatedApplication& client = conversation.client;
    std::uint64_t scale = world_.scale;
    client.key = random().below(Content::kPeriod);
    client.to_send = random().chance(10) ? 0 : random().size(scale * world_.uploads);
    client.burst = scale / 100 + random().size(scale);
    client.buffer = scale / 100 + random().size(random().chance(30) ? 1'000 : 200'000);
    client.is_unix = random().chance(40);
    if (random().chance(8)) client.reset_after = random().below(scale);
    if (client.is_unix && random().chance(20)) client.deaf_after = random().below(scale);
    client.waits_for_bytes = random().chance(15);
    client.waits_for_end = random().chance(30);
    conversation.patience = Duration(random().size(3'000'000));
    if (random().chance(20)) client.pause = Duration(random().size(3'000'000));
    if (random().chance(10)) client.stalled_until = world_.now + Duration(random().size(20'000'000));
  }

  // --- Steps ---

  void step() {
    for (auto& [id, link] : links_) look_at(*link);
    for (auto& conversation : conversations_)
      if (conversation->relay) conversation->relay->on_time();
    for (auto& server : servers_) server->on_time();
    for (ServerIndex server = 0; server < slots_.size(); server++) {
      Slot& slot = slots_[server];
      if (slot.link == 0 && !slot.is_lost && slot.dial_at <= world_.now) dial(server);
    }
    reap();
    std::uint64_t actions = links_.size() * kLinkActions + 2 * conversations_.size();
    std::uint64_t first = random().below(actions);
    bool acted = false;
    for (std::uint64_t i = 0; i < actions && !acted; i++) acted = act((first + i) % actions);
    reap();
    if (acted)
      world_.now += Duration(random().below(world_.tick));
    else
      wait();
  }

  static constexpr std::uint64_t kLinkActions = 8;

  bool act(std::uint64_t action) {
    if (action >= links_.size() * kLinkActions) {
      Conversation& conversation = *conversations_[(action - links_.size() * kLinkActions) / 2];
      if (!conversation.has_started) return start(conversation);
      return conversation.relay && conversation.client.act(*conversation.relay);
    }
    SimulatedLink& link = *std::next(links_.begin(), static_cast<std::ptrdiff_t>(action / kLinkActions))->second;
    int e = static_cast<int>(action % 2);
    std::uint64_t kind = action % kLinkActions / 2;
    if (kind == 3) return e == 1 && run_servers(link);
    if (link.is_dead(e)) return false;
    switch (kind) {
      case 0: return link.pump(e);
      case 1: return deliver(link, e);
      case 2: return e == 0 ? take_turn(link) : take_server_turn(link);
    }
    return false;
  }

  // Nothing can be done now: on to what happens next.
  void wait() {
    if (is_over()) return;
    for (auto& conversation : conversations_)
      if (std::exchange(conversation->starts_at, 0) > world_.steps) return;
    Time next = Time::max();
    auto consider = [&](Time at) {
      if (at > world_.now) next = std::min(next, at);
    };
    for (auto& [id, link] : links_) consider(link->next_event());
    for (auto& server : servers_) consider(server->next_event());
    for (auto& conversation : conversations_) {
      if (conversation->is_over) continue;
      const SimulatedApplication& client = conversation->client;
      for (Time at : {client.not_before, client.stalled_until, client.gives_up_at, conversation->gives_up_at})
        consider(at);
      if (conversation->relay) consider(conversation->relay->next_deadline());
    }
    for (Slot& slot : slots_) consider(slot.dial_at);
    if (next == Time::max()) require(false, "nothing will ever happen again; {}", unfinished());
    world_.now = next;
    if (next - world_.last_progress > kStuck) require(false, "stuck: no progress for a minute; {}", unfinished());
  }

  // Relays that are closed leave nothing behind.
  void reap() {
    for (auto& conversation : conversations_) {
      if (!conversation->relay || !conversation->relay->is_closed()) continue;
      OwnerId owner = conversation->relay->owner();
      for (auto& [id, link] : links_) {
        if (link->is_dead(0)) continue;
        link->ends[0].session->for_each_stream([&](StreamId stream, OwnerId other) {
          require(whole_owner(other) != owner, "stream {} of link {} outlives its client", stream, id);
        });
      }
      conversation->rules = conversation->relay->rules();
      conversation->relay.reset();
      conversation->is_over = true;
      world_.progress();
    }
    std::erase_if(links_, [this](const auto& entry) {
      auto is_left = [&](const auto& server) { return server->link == entry.first && !server->is_done(); };
      return entry.second->is_dead(0) && entry.second->is_dead(1) && std::ranges::none_of(servers_, is_left);
    });
  }

  // --- Links ---

  void dial(ServerIndex server) {
    LinkId id = next_link_++;
    links_.emplace(id, std::make_unique<SimulatedLink>(world_, id, server, budget_));
    slots_[server].link = id;
  }

  void look_at(SimulatedLink& link) {
    if (world_.steps == link.fate_at)
      for (int e : link.meet_fate()) break_link(link, e);
    for (int e : link.on_time()) lose(link, e);
  }

  // The link has ended for this end, whose session may go on.
  void break_link(SimulatedLink& link, int e) {
    if (link.is_dead(e)) return;
    link.may_wait(e) ? link.detach(e) : lose(link, e);
  }

  bool deliver(SimulatedLink& link, int e) {
    if (link.has_ended(e)) return break_link(link, e), true;
    std::uint64_t resumed = link.resumed;
    auto on_event = [&](const Event& event) { e == 0 ? dispatch(link, event) : on_segment_event(link, event); };
    if (!link.receive(e, on_event)) return false;
    if (e == 0) flush_run();
    if (link.ends[e].session->is_closed()) lose(link, e);
    resumed_ += link.resumed - resumed;
    if (link.resumed > resumed) serve_waiting(link.server);
    return true;
  }

  void lose(SimulatedLink& link, int e) {
    if (link.is_dead(e)) return;
    if (link.ends[e].session->is_closed()) link.check_closed(e);
    bool waited = link.ends[e].session->is_detached();
    StreamCode code = waited && random().chance(50) ? StreamCode::ResumeTimeout : StreamCode::LinkLost;
    std::vector<OwnerId> owners = link.lose(e);
    if (e == 1) return lose_servers(link, owners);
    for (OwnerId owner : owners) {
      FanoutRelay* relay = find_relay(owner);
      require(relay, "a stream of nobody: {}", owner);
      relay->on_reset(leg_of(owner), code);
    }
    Slot& slot = slots_[link.server];
    if (slot.link != link.id) return;  // it was draining
    slot.link = 0;
    slot.is_down = true;
    slot.is_lost = random().chance(20);
    slot.dial_at = world_.now + Duration(random().size(1'000'000));
    give_up_legs(link.server);
  }

  void lose_servers(SimulatedLink& link, const std::vector<OwnerId>& owners) {
    for (OwnerId owner : owners) server_of(owner).on_lost();
    for (auto& server : servers_) {
      if (server->link != link.id) continue;
      require(server->over(), "a stream of link {} is not over, and was not told", link.id);
      server->leave_session();
    }
  }

  // --- The controller ---

  Session* find_session(LinkId id) override {
    auto found = links_.find(id);
    return found == links_.end() ? nullptr : found->second->ends[0].session.get();
  }

  // The link of a server, when it takes one more stream.
  SimulatedLink* pick(ServerIndex server) {
    Session* session = find_session(slots_[server].link);
    return session && session->can_open() ? links_.at(slots_[server].link).get() : nullptr;
  }

  void open_leg(FanoutRelay& relay, LegId leg, ServerIndex server) override {
    if (SimulatedLink* link = pick(server)) return relay.open_leg_on(leg, link->id, *link->ends[0].session);
    if (slots_[server].is_down) return relay.on_reset(leg, StreamCode::ConnectFailed);
    slots_[server].waiting.emplace_back(relay.index(), leg);
  }

  void serve_waiting(ServerIndex server) {
    Slot& slot = slots_[server];
    while (!slot.waiting.empty()) {
      SimulatedLink* link = pick(server);
      if (!link) return;
      auto [index, leg] = slot.waiting.front();
      slot.waiting.erase(slot.waiting.begin());
      FanoutRelay* relay = conversations_[index]->relay.get();
      if (relay && relay->is_waiting(leg)) relay->open_leg_on(leg, link->id, *link->ends[0].session);
    }
  }

  void give_up_legs(ServerIndex server) {
    auto waiting = std::exchange(slots_[server].waiting, {});
    for (auto [index, leg] : waiting) {
      FanoutRelay* relay = conversations_[index]->relay.get();
      if (relay && relay->is_waiting(leg)) relay->on_reset(leg, StreamCode::ConnectFailed);
    }
  }

  std::size_t index_of(const Conversation& conversation) const {
    auto is_it = [&](const auto& each) { return each.get() == &conversation; };
    return static_cast<std::size_t>(std::ranges::find_if(conversations_, is_it) - conversations_.begin());
  }

  FanoutRelay* find_relay(OwnerId owner) {
    std::size_t index = static_cast<std::size_t>(whole_owner(owner)) - 1;
    require(index < conversations_.size(), "an owner that never was: {}", owner);
    return conversations_[index]->relay.get();
  }

  // Data of one leg is handed on in runs, as Worker does.
  void dispatch(SimulatedLink& link, const Event& event) {
    if (event.kind == EventKind::Data) return add_to_run(event.owner, event.data, event.ends_frame);
    flush_run();
    if (event.kind != EventKind::MoreStreams)
      world_.say("link {} -> {} of stream {}", link.id, static_cast<int>(event.kind), event.stream);
    FanoutRelay* relay = event.owner == 0 ? nullptr : find_relay(event.owner);
    LegId leg = leg_of(event.owner);
    switch (event.kind) {
      case EventKind::Established: slots_[link.server].is_down = false; return serve_waiting(link.server);
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
      case EventKind::ResumeAsked:
      case EventKind::Resumed:
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
    FanoutRelay* relay = find_relay(run_leg_);
    require(relay, "data for a client that has gone");
    relay->on_data(leg_of(run_leg_), parts.data(), static_cast<int>(parts.size()), size, part);
  }

  bool take_turn(SimulatedLink& link) {
    auto quantum = link.next_quantum(0);
    if (!quantum) return false;
    FanoutRelay* relay = find_relay(quantum->owner);
    require(relay, "a turn of a client that has gone");
    bool has_moved = relay->fill(*link.ends[0].session, *quantum, leg_of(quantum->owner));
    const Stream* stream = link.ends[0].session->find(quantum->stream);
    if (has_moved) world_.progress();
    require(has_moved || !stream || !stream->wants, "stream {} of link {} wants turns and uses none", quantum->stream,
            link.id);
    return true;
  }

  bool start(Conversation& conversation) {
    if (conversation.is_over || world_.steps < conversation.starts_at) return false;
    std::vector<ServerIndex> order;
    for (ServerIndex server = 0; server < slots_.size(); server++)
      if (!slots_[server].is_down) order.push_back(server);
    if (order.size() < conversation.plan.limits.quorum) return give_up(conversation);
    for (std::size_t i = order.size(); i > 1; i--) std::swap(order[i - 1], order[random().below(i)]);
    conversation.plan.order = order;
    conversation.has_started = true;
    SimulatedApplication& client = conversation.client;
    world_.say("{} begins", client.name);
    conversation.relay =
        std::make_unique<FanoutRelay>(*this, world_, client, index_of(conversation), conversation.plan, budget_);
    client.gives_up_at = world_.now + conversation.patience;
    conversation.relay->start();
    world_.progress();
    return true;
  }

  // There are not enough servers: perhaps later.
  bool give_up(Conversation& conversation) {
    if (conversation.gives_up_at == Time{}) conversation.gives_up_at = world_.now + seconds(5);
    if (world_.now < conversation.gives_up_at) return false;
    world_.progress();
    return conversation.is_over = true;
  }

  // --- Segments ---

  SimulatedServer& server_of(OwnerId owner) { return *servers_.at(static_cast<std::size_t>(owner) - 1); }
  static const FanoutRules& rules_of(const Conversation& conversation) {
    return conversation.relay ? conversation.relay->rules() : *conversation.rules;
  }

  void on_segment_event(SimulatedLink& link, const Event& event) {
    if (event.kind == EventKind::Opened) return on_opened(link, event);
    if (event.stream == 0) return;
    SimulatedServer& server = server_of(event.owner);
    require(server.stream == event.stream && !server.over(), "an event of stream {}, which is over", event.stream);
    const Conversation& conversation = *conversations_[server.client];
    const FanoutRules& rules = rules_of(conversation);
    switch (event.kind) {
      case EventKind::Data:
        require(FanoutWorld::content().matches(event.data, conversation.client.key, server.received),
                "leg {} of client {} gets other bytes than were sent, at {}", server.leg, server.client,
                server.received);
        require(server.received + event.data.size() <= conversation.client.taken, "leg {} gets more than was sent",
                server.leg);
        server.on_data(event.data);
        up_ += event.data.size();
        return;
      case EventKind::Finished:
        require(rules.has_fin() && server.received == rules.read(), "a clean end of leg {} after {} bytes of {}",
                server.leg, server.received, rules.read());
        return server.on_finished();
      case EventKind::Stopped: return server.on_stopped(event.code);
      case EventKind::Reset:
        require(rules.leg(server.leg).dropped, "RESET of leg {} by nobody", server.leg);
        return server.on_reset(event.code);
      default: return;
    }
  }

  void on_opened(SimulatedLink& link, const Event& event) {
    const std::string& name = event.request->service;  // "2 1": leg 1 of client 2
    std::size_t client = std::stoul(name);
    auto leg = static_cast<LegId>(std::stoul(name.substr(name.find(' '))));
    Conversation& conversation = *conversations_[client];
    SimulatedServer& server =
        *servers_.emplace_back(std::make_unique<SimulatedServer>(world_, link.budget, link.id, client, leg));
    server.start(*link.ends[1].session, event.stream, servers_.size(), conversation.client.key);
    link.ends[1].session->adopt(event.stream, server.owner);
    conversation.servers.resize(std::max<std::size_t>(conversation.servers.size(), server.leg + 1));
    require(!conversation.servers[server.leg], "leg {} is opened twice", server.leg);
    conversation.servers[server.leg] = &server;
    if (conversation.relay) conversation.relay->rules().on_reached(server.leg, server);
    world_.say("server {} has leg {} of client {}: sends {}{}{}{}", link.server, server.leg, server.client,
               server.application.to_send, server.refuses ? ", refuses" : "",
               server.application.waits_for_fin ? ", waits for FIN" : "",
               server.application.waits_for_bytes ? ", waits for bytes" : "");
  }

  bool run_servers(SimulatedLink& link) {
    Session* session = link.ends[1].session.get();
    if (session && session->is_drained() && !link.closing) {
      link.closing = true;
      session->close(LinkCode::NoError, "drained");
      return lose(link, 1), true;
    }
    std::size_t first = servers_.empty() ? 0 : random().below(servers_.size());
    for (std::size_t i = 0; i < servers_.size(); i++) {
      SimulatedServer& server = *servers_[(first + i) % servers_.size()];
      if (server.link != link.id || !server.act(session)) continue;
      world_.progress();
      return true;
    }
    return false;
  }

  bool take_server_turn(SimulatedLink& link) {
    auto quantum = link.next_quantum(1);
    if (!quantum) return false;
    SimulatedServer& server = server_of(quantum->owner);
    bool has_moved = server.fill(*quantum);
    const Stream* stream = link.ends[1].session->find(quantum->stream);
    if (has_moved) world_.progress();
    require(has_moved || !stream || !stream->wants, "stream {} of link {} wants turns and uses none", quantum->stream,
            link.id);
    return true;
  }

  // --- What must hold ---

  void check() {
    std::uint64_t buffered = 0;
    for (auto& conversation : conversations_) {
      if (!conversation->relay) continue;
      conversation->relay->check();
      buffered += conversation->relay->buffered();
    }
    require(budget_.buffered() == buffered, "{} bytes are counted as buffered, but {} are", budget_.buffered(),
            buffered);
    for (auto& server : servers_) check_server(*server);
    for (auto& [id, link] : links_) check_buffered(*link);
  }

  void check_buffered(const SimulatedLink& link) const {
    std::uint64_t buffered = 0;
    for (auto& server : servers_)
      if (server->link == link.id) buffered += server->flow().pending();
    require(link.budget.buffered() == buffered, "{} bytes of link {} are counted as buffered, but {} are",
            link.budget.buffered(), link.id, buffered);
  }

  void check_server(const SimulatedServer& server) const {
    server.check();
    auto found = links_.find(server.link);
    if (found == links_.end() || found->second->is_dead(1)) return;
    const Stream* stream = found->second->ends[1].session->find(server.stream);
    require((stream != nullptr) == !server.over(), "stream {} is {}", server.stream, stream ? "still there" : "gone");
  }

  bool is_over() const {
    auto has_ended = [](const auto& conversation) { return conversation->is_over; };
    auto is_idle = [](const auto& entry) { return entry.second->is_idle(); };
    return std::ranges::all_of(conversations_, has_ended) && std::ranges::all_of(links_, is_idle) &&
           std::ranges::all_of(servers_, [](const auto& server) { return server->is_done(); });
  }

  void check_end() {
    for (auto& conversation : conversations_)
      if (conversation->rules) check_conversation(*conversation);
    servers_.clear();
    for (auto& [id, link] : links_) {
      for (auto& end : link->ends) {
        end.session.reset();
        end.fresh.reset();
      }
      check_budget(link->budget);
    }
    check_budget(budget_);
  }

  static void check_budget(Budget& budget) {
    require(budget.buffered() == 0, "{} bytes are still counted as buffered", budget.buffered());
    require(budget.kept() == 0, "{} bytes are still counted as kept", budget.kept());
    require(budget.reserve(budget.limit()), "windows did not give back what they reserved");
    budget.release(budget.limit());
  }

  // A leg that ended cleanly has carried everything, and no more servers did the work than there are to be.
  void check_conversation(const Conversation& conversation) const {
    const FanoutRules& rules = *conversation.rules;
    require(conversation.client.has_ended(), "{} never ended", conversation.client.name);
    std::size_t served = 0;
    for (const SimulatedServer* server : conversation.servers) {
      if (!server) continue;
      served += server->accepted && server->received > 0;
      const FanoutRules::Known& leg = rules.leg(server->leg);
      if (leg.is_gone() || server->lost || server->own_reset || !leg.was_finished || server->stopped) continue;
      require(server->fin_received && server->received == rules.read(), "leg {} of client {} never got all",
              server->leg, server->client);
    }
    require(served <= rules.most_legs(), "{} servers did the work of {}", served, rules.most_legs());
  }

  std::string unfinished() const {
    std::string text;
    for (auto& conversation : conversations_) {
      if (conversation->is_over) continue;
      text += fmt::format("\n  {}, {}", conversation->client.describe(), name_of(conversation->plan.mode));
      if (!conversation->relay) continue;
      const Fanout& fanout = conversation->relay->fanout();
      for (LegId leg = 0; leg < fanout.leg_count(); leg++)
        text += fmt::format("\n    leg {}: state {} sent {} held {}", leg, static_cast<int>(fanout.leg(leg).state),
                            fanout.leg(leg).sent, fanout.leg(leg).held.size());
    }
    for (auto& server : servers_)
      if (!server->is_done()) text += "\n  " + server->describe();
    return text;
  }

  void summarize(FanoutResult& result) const {
    result.fingerprint = world_.fingerprint;
    result.steps = world_.steps;
    result.up = up_;
    result.resumed = resumed_;
    for (auto& conversation : conversations_) {
      const SimulatedApplication& client = conversation->client;
      result.down += client.received;
      if (!conversation->rules) continue;
      const FanoutRules& rules = *conversation->rules;
      result.conversations++;
      result.clean_ends += client.fin_received && !client.was_reset;
      result.resets += client.was_reset;
      result.winners += rules.winner.has_value();
      result.losers += rules.had_loser;
      result.no_quorums += rules.had_no_quorum;
      result.replaced += rules.was_replaced;
      result.lagging += rules.was_lagging;
      result.waits += rules.was_waiting;
      result.lost_links += rules.was_cut;
    }
  }

  FanoutWorld world_;
  Budget budget_;  // of the controller
  LinkId next_link_ = 1;
  std::map<LinkId, std::unique_ptr<SimulatedLink>> links_;
  std::vector<Slot> slots_;                                // by server
  std::vector<std::unique_ptr<SimulatedServer>> servers_;  // one for each stream that reached a segment
  std::vector<std::unique_ptr<Conversation>> conversations_;
  std::uint64_t up_ = 0;       // bytes
  std::uint64_t resumed_ = 0;  // links

  std::vector<iovec> run_;
  OwnerId run_leg_ = 0;
  std::size_t run_size_ = 0, run_part_ = 0;
};

}  // namespace

FanoutResult simulate_fanout(std::uint64_t seed, bool trace) { return FanoutSimulation(seed, trace).run(); }

}  // namespace cloudbus
