// SPDX-License-Identifier: Apache-2.0
#pragma once

// The links of a controller to one address: so many, kept open, dialled again when they are lost; and, with
// `links = auto`, further ones while they are needed.

#include <functional>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "cloudbus/app/config/config.h"
#include "cloudbus/app/link/peer.h"
#include "cloudbus/core/policy/backoff.h"
#include "cloudbus/core/policy/health.h"
#include "cloudbus/net/timers.h"

namespace cloudbus {

class Pool {
 public:
  // One link that is to be there.
  struct Slot {
    Slot(Timers& timers, std::function<void(Slot&)> on_time)
        : timer(timers, [this, on_time = std::move(on_time)] { on_time(*this); }) {}

    Timer timer;
    PeerId peer = 0;
    Backoff backoff{std::chrono::milliseconds(100), std::chrono::seconds(5)};
    Time up_since = Time::max();  // of the link that is there
    std::string last_error;       // what was logged last, so that it is not logged again
    bool is_down = false;         // the last try failed, or the link was lost, and none is up since
    bool is_refused = false;      // the last try had an answer: never
    Time told_at{};               // in the log, that it is down
    Time down_since{};            // while it is down
    Time dialled_at{};
    bool is_extra = false;  // it is there only while it is needed
    // Of an extra link: the streams that it had been asked for when it was looked at, and since when it has none.
    std::uint64_t opened = 0;
    Time idle_since{};
  };

  // It is time for a slot to be dialled, or looked at: it has no peer, or look_again() was called for it.
  using OnTime = std::function<void(Pool& pool, Slot& slot)>;

  Pool(Context& context, Links& links, const Address& address, OnTime on_time);
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  const Address& address() const { return address_; }
  const std::string& address_text() const { return text_; }
  const std::string& name() const { return name_; }  // the address as an endpoint, for the log
  std::list<Slot>& slots() { return slots_; }
  // But for the extra ones.
  std::size_t kept_slots() const;
  Slot& last_kept_slot();

  Health health;  // what the conversations say

  // Pings every link so often from here on, or never: is_in() knows what comes of it.
  void check(const HealthConfig& config);
  bool is_in(Time now) const { return health.is_in(now) && checks_.is_in(now); }

  // The session with the fewest streams, of those that take one; one whose link has room if there is one. Null for
  // none.
  Peer* pick();
  // Nothing says that no link will be up soon.
  bool is_usable() const;
  // All of its links were refused for good; or they are down for longer than `patience`, and tries that began after
  // `since` failed too.
  bool is_hopeless(Time since, Duration patience) const;
  // Those that wait for their next try, but for tries that were made a moment ago.
  std::vector<Slot*> due_slots();
  // All links that are there are up, and do not answer now.
  bool is_unresponsive();

  // Whether there may be extra links. Those that are there end when they are idle.
  void set_growing(bool may_grow);
  // None of its links has room, none is being made, and it may have one more.
  bool needs_more();
  // The extra link has had no stream for so long that it is not needed.
  bool is_idle(Slot& slot);
  // Has the slot's timer run again in a while.
  void look_again(Slot& slot);

  Slot& add_slot(bool is_extra);
  void remove_slot(Slot& slot);
  // Null when it could not be: then it is dialled later.
  Peer* dial(Slot& slot);
  void on_established(Slot& slot, Peer& peer);
  // The link is lost, or could not be made.
  void on_lost(Slot& slot, const std::string& reason, bool was_up, std::size_t lost_streams, bool is_final);
  // Another link takes the place of one that is draining.
  void replace(Slot& slot);
  // No link is dialled any more.
  void stop();

 private:
  Duration dial_later(Slot& slot);
  void on_check();

  Context& context_;
  Links& links_;
  OnTime on_time_;
  Address address_;
  std::string text_, name_;
  std::list<Slot> slots_;
  bool may_grow_ = false;

  HealthConfig check_;
  Health checks_;
  Timer check_timer_{context_.timers(), [this] { on_check(); }};
  Time checked_at_ = Time::max();  // pings were sent then
};

}  // namespace cloudbus
