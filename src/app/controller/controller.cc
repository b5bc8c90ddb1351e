// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/controller/controller.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "cloudbus/app/log/client_name.h"
#include "cloudbus/app/log/log.h"

namespace cloudbus {
namespace {

// Between pings of one link beside the streams that are opened.
constexpr Duration kCheckApart = std::chrono::milliseconds(100);

ControllerService& service_of(const ClientRelay& relay) { return static_cast<ControllerService&>(relay.its_service()); }

}  // namespace

// --- Services ----------------------------------------------------------------------------------------------------

void ControllerService::on_server_added(ServerIndex server) {
  if (server >= of_server_.size()) of_server_.resize(server + 1);
  of_server_[server] = &upstreams_.use(endpoint(server), id(), UpstreamNeeds::of(config()));
}

void ControllerService::on_server_removed(ServerIndex server) {
  upstreams_.leave(*std::exchange(of_server_[server], nullptr), id());
}

void ControllerService::on_applied() {
  for (ServerIndex server : servers()) upstreams_.use(endpoint(server), id(), UpstreamNeeds::of(config()));
}

Controller::Controller(Worker& worker)
    : worker_(worker),
      upstreams_(worker, worker.links(), worker.directory(), *this),
      services_(worker, worker.roster(),
                [this](ServiceId id) { return std::make_unique<ControllerService>(id, worker_.index(), upstreams_); }),
      resumer_(worker.links()) {}

void Controller::on_config(const ConfigDiff& diff) {
  services_.apply(diff);
  upstreams_.settle();
  if (!diff.changed.empty()) begin_again(diff);
}

// Clients of changed services that nothing was begun for take the new configuration.
void Controller::begin_again(const ConfigDiff& diff) {
  std::vector<ServiceId> changed;
  for (const auto& service : diff.changed) changed.push_back(service->id);
  std::ranges::sort(changed);
  std::vector<ClientRelay*> waiting;
  worker_.roster().for_each([&](Conversation& conversation) {
    auto& relay = static_cast<ClientRelay&>(conversation);
    if (relay.is_new() && std::ranges::binary_search(changed, relay.service())) waiting.push_back(&relay);
  });
  for (ClientRelay* relay : waiting) {
    relay->take_version(relay->its_service().current());
    begin_or_wait(*relay);
  }
}

// --- Clients -----------------------------------------------------------------------------------------------------

void Controller::on_client(ServiceId id, int fd, const Address& address) {
  Service* service = services_.find(id);
  if (!service) {  // it has just been removed
    ::close(fd);
    return;
  }
  auto made = std::make_unique<ClientRelay>(*this, worker_, service->current(), fd, address);
  auto& relay = static_cast<ClientRelay&>(worker_.roster().add(std::move(made)));
  if (service->memory().exhausted()) return relay.abort(StreamCode::Overload);
  begin_or_wait(relay);
}

void Controller::begin_or_wait(ClientRelay& relay) {
  if (begin(relay)) return;
  ControllerService& service = service_of(relay);
  for (ServerIndex server : service.servers())
    wait(*service.upstream(server), service.id(), {relay.id(), std::nullopt});
  for (ServerIndex server : service.servers()) upstreams_.dial_now(*service.upstream(server));
}

// False while the links that it needs are not there, or names are being asked for on its behalf.
bool Controller::begin(ClientRelay& relay) {
  const ServiceConfig& config = relay.config();
  ControllerService& service = service_of(relay);
  auto servers = service.servers();
  bool is_renewing = false;
  for (ServerIndex server : servers) is_renewing |= upstreams_.renew(*service.upstream(server));
  if (is_renewing) return false;
  auto has_link = [&](ServerIndex server) { return upstreams_.has_link(*service.upstream(server)); };
  if (std::ranges::count_if(servers, has_link) < static_cast<std::ptrdiff_t>(config.fanout.quorum)) {
    for (ServerIndex server : servers) upstreams_.grow(*service.upstream(server));
    return false;
  }
  if (begin_on_only_link(relay, service)) return true;
  std::vector<ServerIndex> order;
  service.balance().order(hash_key(relay.client()), worker_.random_bits(), order);
  std::erase_if(order, [&](ServerIndex server) { return !upstreams_.is_usable(*service.upstream(server)); });
  if (config.mode == Mode::Balance)
    std::stable_partition(order.begin(), order.end(),
                          [&](ServerIndex server) { return upstreams_.is_lively(*service.upstream(server)); });
  relay.start_legs(std::move(order));
  return true;
}

// One to one, with one address: the stream needs no legs.
bool Controller::begin_on_only_link(ClientRelay& relay, ControllerService& service) {
  if (relay.config().mode != Mode::OneToOne) return false;
  Upstream& upstream = *service.upstream(service.servers().front());
  if (upstream.pools.size() != 1) return false;
  relay.open_on(*upstream.pools.front()->pick());
  upstreams_.grow(upstream);
  return true;
}

void Controller::open_leg(ClientRelay& relay, LegId leg, ServerIndex server) {
  Upstream* upstream = service_of(relay).upstream(server);
  if (!upstream) return relay.leg_unreachable(leg);
  if (Peer* peer = upstreams_.pick(*upstream, relay.tried(leg))) return open_on(relay, leg, *peer);
  if (!upstreams_.is_usable(*upstream)) return relay.leg_unreachable(leg);
  upstreams_.grow(*upstream);
  wait(*upstream, relay.service(), {relay.id(), leg});
}

// The ping beside it tells soon whether somebody is there.
void Controller::open_on(ClientRelay& relay, LegId leg, Peer& peer) {
  peer.session().check(worker_.now(), kCheckApart);
  relay.open_leg_on(leg, peer, upstreams_.pool_of(peer.id())->address_text());
  upstreams_.grow(peer.id());
}

bool Controller::has_other_address(const ClientRelay& relay, LegId leg, ServerIndex server) {
  const Upstream* upstream = service_of(relay).upstream(server);
  return upstream && upstreams_.has_other(*upstream, relay.address(leg), relay.tried(leg));
}

// --- Waiting -----------------------------------------------------------------------------------------------------

void Controller::wait(Upstream& upstream, ServiceId service, const WaitingClient& waiting) {
  upstream.waiting.push(service, waiting);
  if (upstream.waiting.size() < upstream.look_at) return;
  upstream.waiting.take_all([this](const WaitingClient& other) { return !find_waiting(other); });
  upstream.look_at = std::max<std::size_t>(64, 2 * upstream.waiting.size());
}

// Null for one that waits no more.
ClientRelay* Controller::find_waiting(const WaitingClient& waiting) {
  auto* relay = static_cast<ClientRelay*>(worker_.roster().find(waiting.relay));
  if (!relay) return nullptr;
  return (waiting.leg ? relay->is_waiting(*waiting.leg) : relay->is_new()) ? relay : nullptr;
}

// False when there is no link for it. Whoever waits no more is served.
bool Controller::serve(Upstream& upstream, const WaitingClient& waiting) {
  ClientRelay* relay = find_waiting(waiting);
  if (!relay) return true;
  if (!waiting.leg) return begin(*relay);
  Peer* peer = upstreams_.pick(upstream, relay->tried(*waiting.leg));
  if (peer) open_on(*relay, *waiting.leg, *peer);
  return peer;
}

void Controller::serve_waiting(Upstream& upstream) {
  std::vector<std::pair<ServiceId, WaitingClient>> left;
  while (upstreams_.has_link(upstream)) {
    auto next = upstream.waiting.take();
    if (!next) break;
    if (!serve(upstream, next->second)) left.push_back(*next);  // it waits for another server
  }
  std::ranges::reverse(left);
  for (const auto& [service, waiting] : left) upstream.waiting.push_front(service, waiting);
}

// Waiting cannot help where the other end says that it will never do, or where a try that was made for this client
// failed when nothing had been there for longer than the client would wait.
void Controller::end_hopeless(Upstream& upstream) {
  auto is_hopeless = [this](const WaitingClient& waiting) {
    ClientRelay* relay = waiting.leg ? nullptr : find_waiting(waiting);
    if (!relay) return false;
    const ControllerService& service = service_of(*relay);
    return std::ranges::all_of(service.servers(), [&](ServerIndex server) {
      return upstreams_.is_hopeless(*service.upstream(server), relay->started(), relay->config().connect_timeout);
    });
  };
  for (const auto& [service, waiting] : upstream.waiting.take_all(is_hopeless))
    if (ClientRelay* relay = find_waiting(waiting)) relay->abort(StreamCode::NoSegment);
}

StreamCode Controller::why_no_link(const ClientRelay& relay) const {
  const ControllerService& service = service_of(relay);
  bool is_there = std::ranges::any_of(
      service.servers(), [&](ServerIndex server) { return upstreams_.is_usable(*service.upstream(server)); });
  return is_there ? StreamCode::NoLink : StreamCode::NoSegment;
}

const std::string* Controller::reason_of(OwnerId conversation) const {
  auto found = reasons_.find(conversation);
  return found == reasons_.end() ? nullptr : &found->second;
}

// The legs that wait for it have others beside them, or in their place.
void Controller::on_unusable(Upstream& upstream) {
  end_hopeless(upstream);
  auto legs = upstream.waiting.take_all([](const WaitingClient& waiting) { return waiting.leg.has_value(); });
  for (const auto& [service, waiting] : legs)
    if (ClientRelay* relay = find_waiting(waiting)) relay->leg_unreachable(*waiting.leg);
}

void Controller::on_targets(Directory::Id id) {
  Upstream* upstream = upstreams_.on_targets(id);
  if (!upstream || upstream->needs.is_lazy) return;
  // Who has waited for the answer may be served by another server.
  upstreams_.for_each([this](Upstream& other) { serve_waiting(other); });
}

// --- Links -------------------------------------------------------------------------------------------------------

void Controller::on_established(Peer& peer) {
  Resumer::Established resumed = resumer_.on_established(peer);
  if (resumed.is_own && !upstreams_.replace(peer, resumed.replaces)) {
    if (resumed.replaces != 0) peer.close(LinkCode::NoError, "the address is no more");
    return;
  }
  upstreams_.on_established(peer);
}

// Who has sent nothing yet can still go elsewhere, where there is an elsewhere.
void Controller::on_unresponsive(Peer& peer) {
  for (OwnerId owner : peer.session().owners())
    if (auto* relay = static_cast<ClientRelay*>(worker_.roster().find(owner)))
      relay->on_unresponsive_link(leg_of(owner));
}

// Another link is made beside it; which of the two goes on is decided when that stands.
void Controller::on_suspect(Peer& peer) {
  if (may_resume(peer)) resumer_.start_beside(peer, upstreams_.addresses_of(peer));
}

void Controller::on_gone(Peer& peer) {
  if (resumer_.on_gone(peer)) return;
  if (peer.was_given_up())
    log_line(LogLevel::Warning, "link", "given up",
             {{"segment", peer.name()},
              {"session", peer.session_name()},
              {"reason", peer.reason()},
              {"streams", peer.lost_streams()}});
  if (upstreams_.on_gone(peer) || peer.was_given_up()) return;
  bool is_lost = peer.lost_streams() > 0;  // otherwise it was draining
  log_line(is_lost ? LogLevel::Warning : LogLevel::Info, "link", is_lost ? "lost" : "drained",
           {{"segment", peer.name()},
            {"session", peer.session_name()},
            {"reason", peer.reason()},
            {"streams", peer.lost_streams()}});
}

// --- Resuming ----------------------------------------------------------------------------------------------------

// A segment that drains takes no link any more.
bool Controller::may_resume(const Peer& peer) const {
  return peer.session().is_worth_resuming() && !peer.session().peer_going_away();
}

void Controller::on_link_lost(Peer& peer, const std::string& reason) {
  log_line(LogLevel::Warning, "link", "lost",
           {{"segment", peer.name()},
            {"session", peer.session_name()},
            {"reason", reason},
            {"streams", peer.session().stream_count()},
            {"resume", peer.session().resume_wait()}});
  resumer_.start(peer, upstreams_.addresses_of(peer));
  upstreams_.on_lost(peer);
}

void Controller::on_resume(Peer& fresh, const ResumeFrame& answer, Bytes rest) {
  std::string over = fresh.name();
  Peer* peer = resumer_.on_resumed(fresh, answer, rest);
  if (!peer) return;
  log_line(LogLevel::Info, "link", "resumed",
           {{"segment", peer->name()},
            {"session", peer->session_name()},
            {"link", peer->id()},
            {"over", over},
            {"after", worker_.now() - peer->lost_at()},
            {"replayed", peer->replayed()},
            {"streams", peer->session().stream_count()}});
  upstreams_.on_resumed(*peer);
}

}  // namespace cloudbus
