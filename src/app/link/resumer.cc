// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/link/resumer.h"

#include <algorithm>
#include <utility>

#include "cloudbus/app/log/log.h"
#include "cloudbus/net/dialer.h"

namespace cloudbus {
namespace {

constexpr std::size_t kMostTries = 8;  // at once
// One that is silent for so long may be lost; it goes on beside the next one, as a link may be slow.
constexpr Duration kTryEvery = std::chrono::milliseconds(500);
constexpr Duration kMoment = std::chrono::milliseconds(20);
constexpr Duration kAskPatience = std::chrono::seconds(2);

}  // namespace

Resumer::Search* Resumer::find(PeerId lost) {
  auto found = searches_.find(lost);
  return found == searches_.end() ? nullptr : &found->second;
}

Resumer::Search* Resumer::search_of(PeerId one_try) {
  auto found = lost_of_.find(one_try);
  return found == lost_of_.end() ? nullptr : find(found->second);
}

// Null when it does not wait any more.
Peer* Resumer::find_lost(const Search& search) {
  Peer* peer = links_.find(search.lost);
  return peer && !peer->is_gone() && peer->is_detached() ? peer : nullptr;
}

void Resumer::start(Peer& lost, std::vector<Address> addresses) {
  Search& search = searches_.try_emplace(lost.id(), *this, lost.id()).first->second;
  search.addresses = std::move(addresses);
  search.is_beside = false;
  Peer* fresh = links_.find(std::exchange(search.established, 0));
  if (!fresh || fresh->is_gone()) return try_next(search);
  ask(search, lost, *fresh);
  search.timer.set(links_.context().now() + kTryEvery);
}

void Resumer::start_beside(Peer& peer, std::vector<Address> addresses) {
  if (find(peer.id()) || !beside_.take(links_.context().now())) return;
  Search& search = searches_.try_emplace(peer.id(), *this, peer.id()).first->second;
  search.is_beside = true;
  search.addresses = std::move(addresses);
  log_line(LogLevel::Info, "link", "is silent; another one is tried beside it",
           {{"segment", peer.name()}, {"session", peer.session_name()}});
  std::size_t paths = std::min<std::size_t>(2, search.addresses.size());
  for (std::size_t path = 0; path < paths; path++) try_next(search);
}

// For a moment both links stand. A peer that was only stopped answers on both.
void Resumer::on_time_beside(Search& search) {
  Peer* peer = links_.find(search.lost);
  if (!peer || peer->is_gone() || !peer->is_suspect()) return end(search.lost, 0);
  Peer* fresh = search.established ? links_.find(search.established) : nullptr;
  if (!fresh || fresh->is_gone()) {
    search.established = 0;
    return try_next(search);
  }
  peer->lose("it is silent, and another link answers");  // start() comes, and asks that one
}

Resumer::Established Resumer::on_established_beside(Search& search, Peer& fresh) {
  Peer* peer = links_.find(search.lost);
  bool is_same = peer && fresh.session().peer_hello().boot_id == peer->session().peer_hello().boot_id &&
                 fresh.session().is_resumable();
  if (!is_same || search.established != 0) {
    drop_try(fresh.id(), is_same ? "another one was quicker" : "this is another segment");
    return {.is_own = true};
  }
  search.established = fresh.id();
  search.timer.set(links_.context().now() + std::max(kMoment, 2 * fresh.session().round_trip()));
  return {.is_own = true};
}

void Resumer::ask(Search& search, Peer& lost, Peer& fresh) {
  fresh.session().ask_resume(lost.session());
  search.asking = fresh.id();
  search.asked_at = links_.context().now();
  links_.touch(fresh);
}

void Resumer::try_later(Search& search, Duration wait) {
  Time when = links_.context().now() + wait;
  if (when < search.timer.deadline()) search.timer.set(when);
}

void Resumer::try_next(Search& search) {
  if (search.tries.size() == kMostTries) drop_try(search.tries.front().peer, "another one was quicker");
  std::size_t index = search.next++ % search.addresses.size();
  const Address& address = search.addresses[index];
  Dial dialled = dial(address);
  if (dialled.fd < 0) return try_later(search, search.backoff.next(links_.context().random()));
  std::string name = Endpoint::of(address).to_string();
  Peer& peer = links_.add(dialled.fd, !dialled.connected, std::move(name));
  search.tries.push_back({peer.id(), index == 0});
  lost_of_[peer.id()] = search.lost;
  try_later(search, kTryEvery);
}

void Resumer::on_time(PeerId lost) {
  Search& search = *find(lost);
  if (search.is_beside) return on_time_beside(search);
  if (!find_lost(search)) return end(lost, 0);
  if (search.asking && links_.context().now() - search.asked_at < kAskPatience) return try_later(search, kTryEvery);
  if (search.asking) drop_try(search.asking, "no answer to RESUME");
  try_next(search);
}

// It is closed, and no try any more.
void Resumer::drop_try(PeerId id, std::string reason) {
  Search* search = search_of(id);
  std::erase_if(search->tries, [id](const Try& one) { return one.peer == id; });
  if (search->asking == id) search->asking = 0;
  if (Peer* peer = links_.find(id); peer && !peer->is_gone()) {
    peer->close(LinkCode::NoError, std::move(reason));
    links_.touch(*peer);
  }
}

void Resumer::end(PeerId lost, PeerId except) {
  Search* search = find(lost);
  for (const Try& one : std::vector<Try>(search->tries))
    if (one.peer != except) drop_try(one.peer, "another one was quicker");
  searches_.erase(lost);
}

Resumer::Established Resumer::on_established(Peer& fresh) {
  if (!lost_of_.contains(fresh.id())) return {};
  Search* search = search_of(fresh.id());
  if (search && search->is_beside) return on_established_beside(*search, fresh);
  Peer* lost = search ? find_lost(*search) : nullptr;
  auto own = search ? std::ranges::find(search->tries, fresh.id(), &Try::peer) : std::vector<Try>::iterator();
  if (!lost || own == search->tries.end() || search->asking) {
    fresh.close(LinkCode::NoError, "another one was quicker");
    return {.is_own = true};
  }
  bool is_same =
      fresh.session().peer_hello().boot_id == lost->session().peer_hello().boot_id && fresh.session().is_resumable();
  if (is_same) {
    ask(*search, *lost, fresh);
    return {.is_own = true};
  }
  if (!own->is_first_address) {
    drop_try(fresh.id(), "this is another segment");
    try_later(*search, search->backoff.next(links_.context().random()));
    return {.is_own = true};
  }
  PeerId id = lost->id();
  lost->give_up(StreamCode::SessionLost, "the segment was started again");
  end(id, fresh.id());
  lost_of_.erase(fresh.id());
  return {.is_own = true, .replaces = id};
}

Peer* Resumer::on_resumed(Peer& fresh, const ResumeFrame& answer, Bytes rest) {
  Search* search = search_of(fresh.id());
  Peer* lost = search && search->asking == fresh.id() ? find_lost(*search) : nullptr;
  if (!lost) {
    fresh.close(LinkCode::NoError, "the session is no more");
    return nullptr;
  }
  end(lost->id(), fresh.id());
  lost->take_over(fresh.hand_over(rest), answer.position);
  return lost;
}

bool Resumer::on_gone(Peer& peer) {
  if (find(peer.id())) end(peer.id(), 0);
  if (!lost_of_.contains(peer.id())) return false;
  Search* search = search_of(peer.id());
  lost_of_.erase(peer.id());
  if (!search) return true;
  std::erase_if(search->tries, [&peer](const Try& one) { return one.peer == peer.id(); });
  if (search->asking == peer.id()) search->asking = 0;
  if (search->established == peer.id()) search->established = 0;
  if (search->is_beside) {
    try_later(*search, kTryEvery);
    return true;
  }
  Peer* lost = find_lost(*search);
  if (!lost) return true;
  log_line(LogLevel::Debug, "link", "cannot be made", {{"segment", peer.name()}, {"reason", peer.reason()}});
  const Closed& closed = peer.session().closed();
  if (peer.session().is_closed() && closed.by_peer && closed.error.code == LinkCode::UnknownSession) {
    lost->give_up(StreamCode::SessionLost, "the segment does not know the session");
    links_.touch(*lost);
    return true;
  }
  try_later(*search, search->backoff.next(links_.context().random()));
  return true;
}

}  // namespace cloudbus
