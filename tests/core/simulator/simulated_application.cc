// SPDX-License-Identifier: Apache-2.0
#include "core/simulator/simulated_application.h"

#include <algorithm>

#include "core/simulator/simulated_relay.h"

namespace cloudbus {

bool SimulatedApplication::act(SimulatedRelay& relay) {
  if (not_before > world_.now || has_reset) return false;
  bool acted = reset(relay) || (world_.random.chance(50) && read(relay)) || write(relay) || read(relay);
  if (acted) world_.progress();
  if (acted && world_.random.chance(20)) not_before = world_.now + pause;
  return acted;
}

// One event may tell of the last bytes and of the reset behind them.
bool SimulatedApplication::reset(SimulatedRelay& relay) {
  if (sent + received < reset_after || has_ended()) return false;
  if (!fin_sent && world_.random.chance(50)) send_some();
  world_.say("{} resets", name);
  has_reset = true;
  relay.on_socket_reset();
  return true;
}

bool SimulatedApplication::read(SimulatedRelay& relay) {
  if (bytes_read >= deaf_after && !is_deaf) {
    world_.say("{} reads no more", name);
    is_deaf = true;
    relay.on_socket_writable();  // it finds out
    return true;
  }
  if (bytes_read == received || is_deaf || stalled_until > world_.now) return false;
  bool was_full = space() == 0;
  bytes_read += world_.random.chance(50) ? received - bytes_read : world_.random.size(received - bytes_read);
  if (was_full) relay.on_socket_writable();
  if (bytes_read == received) relay.on_socket_delivered();
  return true;
}

bool SimulatedApplication::waits() const {
  if (fin_received || is_deaf) return false;
  bool has_time = gives_up_at == Time{} || world_.now < gives_up_at;
  if (sent == to_send) return (waits_for_end && has_time) || (never_ends_alone && to_send == 0) || waits_for_fin;
  return (waits_for_bytes && received == 0 && has_time) || waits_for_fin;
}

bool SimulatedApplication::write(SimulatedRelay& relay) {
  if (fin_sent || was_reset || waits()) return false;
  if (sent == to_send) {
    world_.say("{} has sent all {}", name, sent);
    fin_sent = true;
  } else {
    if (sent - taken >= kSocketBuffer) return false;
    send_some();
  }
  relay.on_socket_readable();
  return true;
}

void SimulatedApplication::send_some() {
  std::uint64_t space = kSocketBuffer - std::min(kSocketBuffer, sent - taken);
  sent += std::min({world_.random.size(burst), to_send - sent, space});
}

std::string SimulatedApplication::describe() const {
  return fmt::format("{}: sent {} of {}, taken {}, received {}, read {}{}{}{}{}{}", name, sent, to_send, taken,
                     received, bytes_read, fin_sent ? " fin-sent" : "", fin_received ? " fin-received" : "",
                     is_deaf ? " deaf" : "", has_reset ? " has-reset" : "", was_reset ? " was-reset" : "");
}

}  // namespace cloudbus
