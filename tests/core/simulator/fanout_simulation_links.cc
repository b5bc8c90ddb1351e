// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/require.h"
#include "core/simulator/fanout_simulation.h"

namespace cloudbus {
namespace {

using std::chrono::seconds;

constexpr int kMostParts = 8;  // of a run of data

}  // namespace

// --- Links -----------------------------------------------------------------------------------------------------------

void FanoutSimulation::dial(ServerIndex server) {
  LinkId id = next_link_++;
  links_.emplace(id, std::make_unique<SimulatedLink>(world_, id, server, budget_));
  slots_[server].link = id;
}

void FanoutSimulation::look_at(SimulatedLink& link) {
  if (world_.steps == link.fate_at)
    for (int e : link.meet_fate()) break_link(link, e);
  for (int e : link.on_time()) lose(link, e);
}

void FanoutSimulation::break_link(SimulatedLink& link, int e) {
  if (link.is_dead(e)) return;
  link.may_wait(e) ? link.detach(e) : lose(link, e);
}

bool FanoutSimulation::deliver(SimulatedLink& link, int e) {
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

void FanoutSimulation::lose(SimulatedLink& link, int e) {
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

void FanoutSimulation::lose_servers(SimulatedLink& link, const std::vector<OwnerId>& owners) {
  for (OwnerId owner : owners) server_of(owner).on_lost();
  for (auto& server : servers_) {
    if (server->link != link.id) continue;
    require(server->over(), "a stream of link {} is not over, and was not told", link.id);
    server->leave_session();
  }
}

// --- The controller --------------------------------------------------------------------------------------------------

Session* FanoutSimulation::find_session(LinkId id) {
  auto found = links_.find(id);
  return found == links_.end() ? nullptr : found->second->ends[0].session.get();
}

SimulatedLink* FanoutSimulation::pick(ServerIndex server) {
  Session* session = find_session(slots_[server].link);
  return session && session->can_open() ? links_.at(slots_[server].link).get() : nullptr;
}

void FanoutSimulation::open_leg(FanoutRelay& relay, LegId leg, ServerIndex server) {
  if (SimulatedLink* link = pick(server)) return relay.open_leg_on(leg, link->id, *link->ends[0].session);
  if (slots_[server].is_down) return relay.on_reset(leg, StreamCode::ConnectFailed);
  slots_[server].waiting.emplace_back(relay.index(), leg);
}

void FanoutSimulation::serve_waiting(ServerIndex server) {
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

void FanoutSimulation::give_up_legs(ServerIndex server) {
  auto waiting = std::exchange(slots_[server].waiting, {});
  for (auto [index, leg] : waiting) {
    FanoutRelay* relay = conversations_[index]->relay.get();
    if (relay && relay->is_waiting(leg)) relay->on_reset(leg, StreamCode::ConnectFailed);
  }
}

std::size_t FanoutSimulation::index_of(const Conversation& conversation) const {
  auto is_it = [&](const auto& each) { return each.get() == &conversation; };
  return static_cast<std::size_t>(std::ranges::find_if(conversations_, is_it) - conversations_.begin());
}

FanoutRelay* FanoutSimulation::find_relay(OwnerId owner) {
  std::size_t index = static_cast<std::size_t>(whole_owner(owner)) - 1;
  require(index < conversations_.size(), "an owner that never was: {}", owner);
  return conversations_[index]->relay.get();
}

void FanoutSimulation::dispatch(SimulatedLink& link, const Event& event) {
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

void FanoutSimulation::add_to_run(OwnerId leg, Bytes part, bool ends_frame) {
  if (leg != run_leg_ || run_.size() == kMostParts) flush_run();
  run_leg_ = leg;
  run_part_ = ends_frame ? 0 : run_part_ + part.size();
  run_.push_back({const_cast<std::byte*>(part.data()), part.size()});
  run_size_ += part.size();
}

void FanoutSimulation::flush_run() {
  if (run_.empty()) return;
  auto parts = std::exchange(run_, {});
  std::size_t size = std::exchange(run_size_, 0), part = std::exchange(run_part_, 0);
  FanoutRelay* relay = find_relay(run_leg_);
  require(relay, "data for a client that has gone");
  relay->on_data(leg_of(run_leg_), parts.data(), static_cast<int>(parts.size()), size, part);
}

bool FanoutSimulation::take_turn(SimulatedLink& link) {
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

bool FanoutSimulation::start(Conversation& conversation) {
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

bool FanoutSimulation::give_up(Conversation& conversation) {
  if (conversation.gives_up_at == Time{}) conversation.gives_up_at = world_.now + seconds(5);
  if (world_.now < conversation.gives_up_at) return false;
  world_.progress();
  return conversation.is_over = true;
}

// --- Segments --------------------------------------------------------------------------------------------------------

const FanoutRules& FanoutSimulation::rules_of(const Conversation& conversation) {
  return conversation.relay ? conversation.relay->rules() : *conversation.rules;
}

void FanoutSimulation::on_segment_event(SimulatedLink& link, const Event& event) {
  if (event.kind == EventKind::Opened) return on_opened(link, event);
  if (event.stream == 0) return;
  SimulatedServer& server = server_of(event.owner);
  require(server.stream == event.stream && !server.over(), "an event of stream {}, which is over", event.stream);
  const Conversation& conversation = *conversations_[server.client];
  const FanoutRules& rules = rules_of(conversation);
  switch (event.kind) {
    case EventKind::Data:
      require(FanoutWorld::content().matches(event.data, conversation.client.key, server.received),
              "leg {} of client {} gets other bytes than were sent, at {}", server.leg, server.client, server.received);
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

void FanoutSimulation::on_opened(SimulatedLink& link, const Event& event) {
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

bool FanoutSimulation::run_servers(SimulatedLink& link) {
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

bool FanoutSimulation::take_server_turn(SimulatedLink& link) {
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

}  // namespace cloudbus
