// SPDX-License-Identifier: Apache-2.0
#include "core/simulator/simulated_client.h"

#include <algorithm>

#include "core/simulator/simulated_relay.h"

namespace cloudbus {

SimulatedClient::SimulatedClient(FanoutWorld& world, std::size_t number) : index(number), world_(world) {
  Random& random = world.random;
  key = random.below(Content::kPeriod);
  to_send = random.chance(10) ? 0 : random.size(world.scale * world.uploads);
  burst = world.scale / 100 + random.size(world.scale);
  buffer = world.scale / 100 + random.size(random.chance(30) ? 1'000 : 200'000);
  if (random.chance(8)) reset_after = random.below(world.scale);
  if (random.chance(8)) deaf_after = random.below(world.scale);
  waits_for_bytes = random.chance(15);
  waits_for_end = random.chance(30);
  patience = Duration(random.size(3'000'000));
  if (random.chance(20)) pause = Duration(random.size(3'000'000));
  if (random.chance(10)) stalled_until = world.now + Duration(random.size(20'000'000));
}

bool SimulatedClient::act(SimulatedRelay& relay) {
  if (not_before > world_.now || has_reset) return false;
  bool acted = reset(relay) || (world_.random.chance(50) && read(relay)) || write(relay) || read(relay);
  if (acted) world_.progress();
  if (acted && world_.random.chance(20)) not_before = world_.now + pause;
  return acted;
}

bool SimulatedClient::reset(SimulatedRelay& relay) {
  if (sent + received < reset_after || has_ended()) return false;
  world_.say("client {} resets", index);
  has_reset = true;
  relay.on_client_reset();
  return true;
}

bool SimulatedClient::read(SimulatedRelay& relay) {
  if (bytes_read >= deaf_after && !is_deaf) {
    world_.say("client {} reads no more", index);
    is_deaf = true;
    relay.on_client_read();  // it finds out
    return true;
  }
  if (bytes_read == received || is_deaf || stalled_until > world_.now) return false;
  bool was_full = space() == 0;
  bytes_read += world_.random.chance(50) ? received - bytes_read : world_.random.size(received - bytes_read);
  if (was_full) relay.on_client_read();
  return true;
}

bool SimulatedClient::write(SimulatedRelay& relay) {
  if (fin_sent || was_reset) return false;
  bool may_wait = world_.now < gives_up_at && !fin_received;
  if (sent == to_send) {
    if (waits_for_end && may_wait) return false;
    world_.say("client {} has sent all {}", index, sent);
    fin_sent = true;
  } else {
    if (waits_for_bytes && received == 0 && may_wait) return false;
    if (sent - taken >= kSocketBuffer) return false;
    std::uint64_t most = std::min(to_send - sent, kSocketBuffer - (sent - taken));
    sent += std::min(world_.random.size(burst), most);
  }
  relay.on_client_wrote();
  return true;
}

std::string SimulatedClient::describe() const {
  return fmt::format("client {}: sent {} of {}, taken {}, received {}, read {}{}{}{}{}", index, sent, to_send, taken,
                     received, bytes_read, fin_sent ? " fin-sent" : "", fin_received ? " fin-received" : "",
                     is_deaf ? " deaf" : "", has_reset ? " has-reset" : "");
}

}  // namespace cloudbus
