// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/link/links.h"

#include <algorithm>

#include "cloudbus/app/config/version.h"
#include "cloudbus/app/link/peer.h"
#include "cloudbus/app/link/random_bytes.h"

namespace cloudbus {

Links::Links(Context& context, Roster& roster) : context_(context), roster_(roster) {}

Links::~Links() = default;

Hello Links::hello(const Origin& origin) const {
  const Config& config = context_.config();
  Hello hello{
      .boot_id = context_.shared().boot_id, .software = std::string("cloudbus ") + version(), .takes_reasons = true};
  Duration wait = Duration::zero();
  for (const auto& service : config.services)
    if (origin.service == 0 || service->id == origin.service) wait = std::max(wait, service->resume);
  if (wait == Duration::zero()) return hello;
  auto ms = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
  hello.resume = {.wait_ms = static_cast<std::uint32_t>(ms), .nonce = random_bytes<sizeof(Nonce)>()};
  if (config.role == Role::Segment) hello.session = {random_bytes<sizeof(Uuid)>(), random_bytes<sizeof(Secret)>()};
  return hello;
}

// A stream may fill its window at once: with little memory the windows start smaller.
SessionLimits Links::session_limits() const {
  SessionLimits limits;
  std::uint64_t part = context_.budget().limit() / 2048;
  limits.initial_window =
      static_cast<std::uint32_t>(std::clamp<std::uint64_t>(part, kMinWindow, limits.initial_window));
  return limits;
}

Peer& Links::add(int fd, bool connecting, std::string name, const Origin& origin) {
  PeerId id = context_.new_id();
  auto peer = std::make_unique<Peer>(*this, id, fd, connecting, std::move(name), origin);
  return *peers_.emplace(id, std::move(peer)).first->second;
}

Peer* Links::find(PeerId id) {
  auto found = peers_.find(id);
  return found == peers_.end() ? nullptr : found->second.get();
}

void Links::touch(Peer& peer) {
  if (peer.is_touched) return;
  peer.is_touched = true;
  touched_.push_back(peer.id());
}

bool Links::flush() {
  std::vector<PeerId> touched;
  touched.swap(touched_);
  for (PeerId id : touched) {
    Peer* peer = find(id);
    if (!peer) continue;
    bool has_more = peer->flush();
    peer->is_touched = false;
    if (peer->is_gone()) {
      owner_->on_gone(*peer);
      peers_.erase(id);
    } else if (has_more) {
      touch(*peer);
    }
  }
  return !touched_.empty();
}

void Links::close_all() {
  for (auto& [id, peer] : peers_) {
    peer->close(LinkCode::Shutdown, "the process ends");
    peer->flush();
  }
  totals_.log();
}

}  // namespace cloudbus
