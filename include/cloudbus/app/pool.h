// SPDX-License-Identifier: Apache-2.0
#pragma once

// The links of a controller to one address: so many, kept open, dialled again when they are lost.

#include <deque>
#include <string>

#include "cloudbus/app/peer.h"
#include "cloudbus/core/backoff.h"
#include "cloudbus/core/health.h"
#include "cloudbus/net/timers.h"

namespace cloudbus {

class Worker;

class Pool {
 public:
  // One link that is to be there.
  struct Slot {
    explicit Slot(Timers::Key its_key) : key(its_key) {}

    Timers::Key key;
    PeerId peer = 0;
    Backoff backoff{std::chrono::milliseconds(100), std::chrono::seconds(5)};
    Time armed = Time::max();
    Time up_since = Time::max();  // of the link that is there
    std::string last_error;       // what was logged last, so that it is not logged again
    bool is_down = false;         // the last try failed, or the link was lost, and none is up since
  };

  Pool(Worker& worker, const Address& address);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  const Address& address() const { return address_; }
  const std::string& address_text() const { return text_; }
  const std::string& name() const { return name_; }  // the address as an endpoint, for the log
  std::deque<Slot>& slots() { return slots_; }

  Health health;

  // The session with the fewest streams, of those that take one; null for none.
  Peer* pick();
  // Nothing says that no link will be up soon.
  bool is_usable() const;

  Slot& add_slot();
  // Null when it could not be: then it is dialled later.
  Peer* dial(Slot& slot);
  void on_ready(Slot& slot, Peer& peer);
  // The link is lost, or could not be made.
  void on_lost(Slot& slot, const std::string& reason, bool was_up, std::size_t lost_streams);
  // Another link takes the place of one that is draining.
  void replace(Slot& slot);
  // No link is dialled any more.
  void stop();

 private:
  Duration dial_later(Slot& slot);

  Worker& worker_;
  Address address_;
  std::string text_, name_;
  std::deque<Slot> slots_;
};

}  // namespace cloudbus
