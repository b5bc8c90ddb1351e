// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/segment/segment.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "cloudbus/app/link/sessions.h"
#include "cloudbus/app/log/log.h"
#include "cloudbus/app/segment/own_dials.h"
#include "cloudbus/app/segment/server_relay.h"
#include "cloudbus/net/connection_ends.h"

namespace cloudbus {
namespace {

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

Segment::Segment(Worker& worker)
    : worker_(worker),
      services_(worker, worker.roster(),
                [&worker](ServiceId id) { return std::make_unique<Backends>(worker, worker.directory(), id); }),
      dial_queue_(worker),
      builtins_(worker),
      parking_(worker.links()) {}

// --- The configuration -------------------------------------------------------------------------------------------

void Segment::on_config(const ConfigDiff& diff) {
  services_.apply(diff);
  if (diff.moves_binds()) check_origins(*diff.after);
  dial_queue_.on_targets();
}

// Where links may come in, and which of those that are there came in elsewhere.
void Segment::check_origins(const Config& config) {
  origins_.clear();
  for (const BindConfig& bind : config.shared_binds) origins_.push_back({0, bind.id});
  for (const auto& service : config.services)
    for (const BindConfig& bind : service->binds) origins_.push_back({service->id, bind.id});
  std::ranges::sort(origins_);
  worker_.links().for_each([this](Peer& peer) {
    if (!std::ranges::binary_search(origins_, peer.origin())) drain_link(peer);
  });
}

// The bind that it came in at is no more, or serves something else: the controller makes another link, elsewhere or
// here, and this one ends with its streams.
void Segment::drain_link(Peer& peer) {
  if (draining_ || peer.is_gone()) return;
  if (std::ranges::find(leaving_, peer.id()) == leaving_.end()) leaving_.push_back(peer.id());
  if (peer.session().is_established() || peer.is_detached())
    peer.session().drain(worker_.now());
  else
    peer.close(LinkCode::Shutdown, "the bind is no more");
  worker_.links().touch(peer);
}

// --- Links -------------------------------------------------------------------------------------------------------

void Segment::on_link(const Origin& origin, int fd, const Address& address) {
  if (!std::ranges::binary_search(origins_, origin)) {  // the bind has just gone
    ::close(fd);
    return;
  }
  links_++;
  worker_.links().add(fd, false, address.to_string(), origin);
}

void Segment::on_established(Peer& peer) {
  log_line(LogLevel::Info, "link", "up",
           {{"controller", peer.name()},
            {"link", peer.id()},
            {"session", peer.session_name()},
            {"peer", peer.session().peer_hello().software}});
  if (peer.session().is_resumable())
    worker_.shared().sessions.add(peer.session().key(), {&worker_.loop(), this, peer.id()});
  if (draining_) peer.session().drain(worker_.now());
}

void Segment::on_gone(Peer& peer) {
  links_--;
  dial_queue_.on_gone(peer.id());
  if (peer.session().is_resumable()) worker_.shared().sessions.remove(peer.session().key().id);
  if (peer.has_handed_over()) return;
  if (peer.was_given_up())
    return log_line(peer.lost_streams() > 0 ? LogLevel::Warning : LogLevel::Debug, "link", "given up",
                    {{"controller", peer.name()},
                     {"session", peer.session_name()},
                     {"reason", peer.reason()},
                     {"streams", peer.lost_streams()}});
  if (!peer.was_heard() && !is_fault_of_peer(peer.code())) {
    worker_.links().totals().on_probe();
    return log_line(LogLevel::Debug, "link", "closed without a byte, as a probe does", {{"controller", peer.name()}});
  }
  bool fault = is_fault_of_peer(peer.code()) || !peer.was_established();
  log_line(fault ? LogLevel::Warning : LogLevel::Info, "link", peer.was_established() ? "down" : "refused",
           {{"controller", peer.name()},
            {"session", peer.session_name()},
            {"reason", peer.reason()},
            {"streams", peer.lost_streams()}});
}

// --- Streams -----------------------------------------------------------------------------------------------------

Service* Segment::find_service(const Peer& peer, const std::string& name) {
  ServiceId only = peer.origin().service;
  return only != 0 ? services_.find(only) : services_.find(name);
}

void Segment::on_opened(Peer& peer, const Event& event) {
  Service* service = find_service(peer, event.request->service);
  if (!service)
    return refuse(peer, event, StreamCode::UnknownService, "asked for a service that is not here",
                  {{"service", event.request->service}});
  if (service->memory().exhausted())
    return end(peer, event, StreamCode::Overload, "the segment's buffers for this service are full");
  if (is_loop(peer, *event.request)) return refuse_loop(peer, event, *service);
  auto relay = std::make_unique<ServerRelay>(*this, worker_, service->current(), peer, event.stream, *event.request);
  peer.session().adopt(event.stream, relay->id());
  dial_queue_.add(*relay);
  worker_.roster().add(std::move(relay));
}

void Segment::on_dialled(int fd, const Address& server, ServiceId service) {
  OwnDials::of_process().add(ends_of_dialled(fd, server), service);
}

// A controller listens at what one of the services here has for its server: the client is a connection of this process.
bool Segment::is_loop(Peer& peer, const OpenRequest& request) const {
  if (OwnDials::of_process().find(request.client_ends)) return true;
  return request.client_process == own_process() && peer.is_of_this_host();
}

void Segment::refuse_loop(Peer& peer, const Event& event, const Service& service) {
  auto dialled_by = OwnDials::of_process().find(event.request->client_ends);
  Service* other = dialled_by ? services_.find(*dialled_by) : nullptr;
  refuse(peer, event, StreamCode::Loop,
         "was asked for by a connection of this segment: a server's address leads back here",
         {{"asked_for", service.name()}, {"dialled_for", other ? other->name() : std::string("-")}});
}

void Segment::refuse(Peer& peer, const Event& event, StreamCode code, std::string_view words,
                     std::vector<Field> fields) {
  fields.push_back({"code", name_of(code)});
  fields.push_back({"controller", peer.name()});
  fields.push_back({"client", event.request->client});
  fields.push_back({"id", event.request->conversation});
  log_line(LogLevel::Warning, "link", words, fields);
  end(peer, event, code, words);
}

void Segment::end(Peer& peer, const Event& event, StreamCode code, std::string_view reason) {
  peer.session().reset(event.stream, code, reason);
  peer.session().release();
}

// Whatever was resolved: those that wait for a name try again.
void Segment::on_targets(Directory::Id) { dial_queue_.on_targets(); }

// --- The turn ----------------------------------------------------------------------------------------------------

void Segment::on_turn_end() {
  close_drained();
  dial_queue_.run();
}

void Segment::on_reaped() {
  builtins_.reap();
  services_.reap();
}

void Segment::close_drained() {
  auto close = [this](Peer& peer) {
    if (!peer.session().is_drained() || peer.session().is_closed()) return;
    peer.close(LinkCode::NoError, "drained");
    worker_.links().touch(peer);
  };
  if (draining_) return worker_.links().for_each(close);
  std::erase_if(leaving_, [&](PeerId id) {
    Peer* peer = worker_.links().find(id);
    if (peer) close(*peer);
    return !peer || peer->session().is_closed();
  });
}

void Segment::on_drain() {
  draining_ = true;
  worker_.links().for_each([this](Peer& peer) {
    if (peer.session().is_established())
      peer.session().drain(worker_.now());
    else if (peer.is_detached())
      peer.give_up(StreamCode::LinkLost, "the process takes no new links");
    else
      peer.close(LinkCode::Shutdown, "the process ends");
    worker_.links().touch(peer);
  });
}

// --- Resuming ----------------------------------------------------------------------------------------------------

void Segment::on_link_lost(Peer& peer, const std::string& reason) {
  bool is_empty = !peer.session().is_worth_resuming();
  auto level = is_empty ? LogLevel::Debug : peer.session().stream_count() > 0 ? LogLevel::Warning : LogLevel::Info;
  log_line(level, "link", "lost",
           {{"controller", peer.name()},
            {"session", peer.session_name()},
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
  if (location->owner == this) return resume(location->peer, claim, fresh.name(), std::move(link));
  location->loop->post([location = *location, claim, over = fresh.name(), link = std::move(link)] {
    static_cast<Segment&>(*location.owner).resume(location.peer, claim, over, link);
  });
}

void Segment::resume(PeerId id, const ResumeClaim& claim, const std::string& over, Peer::Handover link) {
  Peer* peer = worker_.links().find(id);
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
            {"session", peer->session_name()},
            {"link", peer->id()},
            {"over", over},
            {"after", after},
            {"replayed", peer->replayed()},
            {"streams", streams}});
}

}  // namespace cloudbus
