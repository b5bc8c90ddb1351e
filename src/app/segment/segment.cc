// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/segment/segment.h"

#include <unistd.h>

#include "cloudbus/app/log/log.h"
#include "cloudbus/app/segment/server_relay.h"

namespace cloudbus {
namespace {

constexpr int kDialsPerTurn = 32;  // doc/protocol.md, section 7, for each session
constexpr int kMostDialling = 256;
constexpr Duration kDialPause = std::chrono::milliseconds(100);  // when descriptors ran out

bool is_fault_of_peer(LinkCode code) {
  switch (code) {
    case LinkCode::NoError:
    case LinkCode::Shutdown: return false;
    case LinkCode::FrameError:
    case LinkCode::ProtocolError:
    case LinkCode::CreditError:
    case LinkCode::WrongRole:
    case LinkCode::Version:
    case LinkCode::Unsupported:
    case LinkCode::Flood:
    case LinkCode::HandshakeTimeout:
    case LinkCode::PingTimeout:
    case LinkCode::UnknownSession: return true;
  }
  return true;
}

}  // namespace

Segment::Segment(Worker& worker) : worker_(worker), parking_(worker), pause_key_(worker.new_id()) {
  for (const ServiceConfig& service : worker.config().services) services_.try_emplace(service.name, worker, service);
}

void Segment::on_start() {
  for (auto& [name, backends] : services_) backends.start();
}

void Segment::on_link(const ServiceConfig* service, int fd, const Address& address) {
  peers_++;
  worker_.add_peer(fd, false, address.to_string(), service);
}

void Segment::on_established(Peer& peer) {
  log_line(LogLevel::Info, "link", "up",
           {{"controller", peer.name()}, {"link", peer.id()}, {"peer", peer.session().peer_hello().software}});
  if (peer.session().is_resumable()) worker_.shared().sessions.add(peer.session().key(), {&worker_, peer.id()});
  if (draining_) peer.session().drain(worker_.now());
}

Backends* Segment::find_service(const Peer& peer, const std::string& name) {
  auto found = services_.find(peer.service() ? peer.service()->name : name);
  return found == services_.end() ? nullptr : &found->second;
}

void Segment::on_opened(Peer& peer, const Event& event) {
  Backends* service = find_service(peer, event.request->service);
  if (!service) {
    log_line(LogLevel::Warning, "link", "asked for a service that is not here",
             {{"code", std::string(name_of(StreamCode::UnknownService))},
              {"service", event.request->service},
              {"controller", peer.name()},
              {"client", event.request->client},
              {"id", event.request->conversation}});
    peer.session().reset(event.stream, StreamCode::UnknownService);
    return peer.session().release();
  }
  auto relay = std::make_unique<ServerRelay>(worker_, worker_.new_id(), *service, peer, event.stream, *event.request);
  peer.session().adopt(event.stream, relay->id());
  queue(peer, relay->id());
  worker_.add_relay(std::move(relay));
}

void Segment::queue(Peer& peer, OwnerId relay) {
  if (peer.dial_queue.empty()) dial_peers_.push_back(peer.id());
  peer.dial_queue.push_back(relay);
}

// Whatever was resolved: those that wait for a name try again.
void Segment::on_targets(Directory::Id) {
  for (OwnerId id : std::exchange(nameless_, {})) {
    auto* relay = static_cast<ServerRelay*>(worker_.find_relay(id));
    Peer* peer = relay ? worker_.find_peer(relay->peer()) : nullptr;
    if (peer) queue(*peer, id);
  }
}

// Out of descriptors: tried again when one may have come back.
void Segment::pause_dialling() {
  pause_until_ = worker_.now() + kDialPause;
  worker_.timers().set(pause_key_, pause_until_, pause_armed_);
}

void Segment::on_timer(Timers::Key key) {
  if (key == pause_key_) pause_armed_ = Time::max();  // on_turn_end() comes next
}

void Segment::on_turn_end() {
  if (draining_) close_drained();
  if (worker_.now() < pause_until_) return;
  for (std::size_t left = dial_peers_.size(); left > 0; left--) {
    PeerId id = dial_peers_.front();
    dial_peers_.pop_front();
    Peer* peer = worker_.find_peer(id);
    if (!peer || peer->is_gone()) continue;
    dial_some(*peer);
    if (peer->dial_queue.empty()) continue;
    dial_peers_.push_back(id);
    if (worker_.now() < pause_until_) return;
    if (peer->dialing < kMostDialling) worker_.loop().go_on();  // otherwise the end of a dial is awaited
  }
}

void Segment::close_drained() {
  worker_.for_each_peer([this](Peer& peer) {
    if (!peer.session().is_drained() || peer.session().is_closed()) return;
    peer.close(LinkCode::NoError, "drained");
    worker_.touch(peer);
  });
}

void Segment::dial_some(Peer& peer) {
  for (int dials = 0; dials < kDialsPerTurn && peer.dialing < kMostDialling && !peer.dial_queue.empty();) {
    auto* relay = static_cast<ServerRelay*>(worker_.find_relay(peer.dial_queue.front()));
    peer.dial_queue.pop_front();
    if (!relay || !relay->is_waiting()) continue;  // reset in the meantime
    dials++;
    switch (relay->dial()) {
      case ServerRelay::Dialled::Begun: break;
      case ServerRelay::Dialled::NoAddress:
        relay->wait_again();
        nameless_.push_back(relay->id());
        break;
      case ServerRelay::Dialled::NoDescriptor:
        relay->wait_again();
        peer.dial_queue.push_front(relay->id());
        return pause_dialling();
    }
  }
}

void Segment::on_peer_gone(Peer& peer) {
  peers_--;
  if (peer.session().is_resumable()) worker_.shared().sessions.remove(peer.session().key().id);
  if (peer.has_handed_over()) return;
  if (peer.was_given_up())
    return log_line(peer.lost_streams() > 0 ? LogLevel::Warning : LogLevel::Debug, "link", "given up",
                    {{"controller", peer.name()}, {"reason", peer.reason()}, {"streams", peer.lost_streams()}});
  bool fault = is_fault_of_peer(peer.code()) || !peer.was_established();
  log_line(fault ? LogLevel::Warning : LogLevel::Info, "link", peer.was_established() ? "down" : "refused",
           {{"controller", peer.name()}, {"reason", peer.reason()}, {"streams", peer.lost_streams()}});
}

void Segment::on_drain() {
  draining_ = true;
  worker_.for_each_peer([this](Peer& peer) {
    if (peer.session().is_established())
      peer.session().drain(worker_.now());
    else if (peer.is_detached())
      peer.give_up(StreamCode::LinkLost, "the process takes no new links");
    else
      peer.close(LinkCode::Shutdown, "the process ends");
    worker_.touch(peer);
  });
}

// --- Resuming ----------------------------------------------------------------------------------------------------

void Segment::on_link_lost(Peer& peer, const std::string& reason) {
  bool is_empty = !peer.session().is_worth_resuming();
  auto level = is_empty ? LogLevel::Debug : peer.session().stream_count() > 0 ? LogLevel::Warning : LogLevel::Info;
  log_line(level, "link", "lost",
           {{"controller", peer.name()},
            {"reason", reason},
            {"streams", peer.session().stream_count()},
            {"resume", peer.session().resume_wait()}});
  parking_.add(peer.id());
}

// The session may be another worker's: the link goes there, with all that came on it.
void Segment::on_resume(Peer& fresh, const ResumeFrame& request, Bytes rest) {
  ResumeClaim claim = fresh.session().claim_of(request);
  auto location = worker_.shared().sessions.find(claim, request.proof);
  if (!location) return fresh.close(LinkCode::UnknownSession, "no such session");
  Peer::Handover link = fresh.hand_over(rest);
  if (location->worker == &worker_) return resume(location->peer, claim, std::move(link));
  location->worker->post([location = *location, claim, link = std::move(link)] {
    static_cast<Segment&>(location.worker->role()).resume(location.peer, claim, link);
  });
}

void Segment::resume(PeerId id, const ResumeClaim& claim, Peer::Handover link) {
  Peer* peer = worker_.find_peer(id);
  if (peer && !peer->is_detached()) peer->lose("another link takes its place");
  auto answer = peer && !peer->is_gone() ? peer->session().accept_resume(claim) : std::nullopt;
  if (!answer) {  // it has just ended, or went on elsewhere
    ::close(link.fd);
    return;
  }
  link.opening.insert(link.opening.end(), answer->begin(), answer->end());
  Duration after = worker_.now() - peer->lost_at();
  std::size_t streams = peer->session().stream_count();
  peer->take_over(link, claim.position);
  log_line(LogLevel::Info, "link", "resumed",
           {{"controller", peer->name()},
            {"link", peer->id()},
            {"after", after},
            {"replayed", peer->replayed()},
            {"streams", streams}});
}

}  // namespace cloudbus
