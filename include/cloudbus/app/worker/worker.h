// SPDX-License-Identifier: Apache-2.0
#pragma once

// A thread's whole world: its loop, its peers, its relays. Workers share nothing; post() is the one door between them.

#include <sys/uio.h>

#include <functional>
#include <memory>
#include <random>
#include <unordered_map>
#include <vector>

#include "cloudbus/app/config/config.h"
#include "cloudbus/app/link/peer.h"
#include "cloudbus/app/link/sessions.h"
#include "cloudbus/app/names/directory.h"
#include "cloudbus/app/relay/relay.h"
#include "cloudbus/app/roster/link_totals.h"
#include "cloudbus/app/segment/builtin.h"
#include "cloudbus/core/session/queue_limit.h"
#include "cloudbus/net/loop.h"
#include "cloudbus/net/timers.h"

namespace cloudbus {

// What a controller and a segment do differently.
class RoleLogic {
 public:
  virtual ~RoleLogic() = default;
  virtual void on_start() {}
  virtual void on_established(Peer& peer) = 0;
  virtual void on_opened(Peer&, const Event&) {}
  virtual void on_room_for_streams(Peer&) {}
  virtual void on_going_away(Peer&) {}
  // It does not answer, though its link stands.
  virtual void on_unresponsive(Peer&) {}
  // Its link is congested; for those that tell it.
  virtual void on_congested(Peer&) {}
  virtual void on_peer_gone(Peer& peer) = 0;
  // Whether the session of a peer that has just lost its link is to wait for another one; then on_link_lost() comes.
  virtual bool may_resume(const Peer&) const { return false; }
  virtual void on_link_lost(Peer&, const std::string& /*reason*/) {}
  // On the link of `fresh`: a controller asks to resume a session, or a segment agreed to. `rest` came behind it.
  virtual void on_resume(Peer& /*fresh*/, const ResumeFrame&, Bytes /*rest*/) {}
  virtual void on_timer(Timers::Key) {}
  // The addresses of an endpoint may have changed.
  virtual void on_targets(Directory::Id) {}
  // Before anything is written in this turn.
  virtual void on_turn_end() {}
  virtual void on_drain() = 0;
  // Nothing of this role's own is left to wait for.
  virtual bool is_drained() const = 0;
};

// What the workers of a process share.
struct Shared {
  const Uuid boot_id;
  Sessions sessions{};
  SmallTraffic small_traffic{};
};

class Worker {
 public:
  // `index`: which of the process's workers it is, from 0.
  Worker(std::shared_ptr<const Config> config, Shared& shared, std::size_t index);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void set_role(std::unique_ptr<RoleLogic> role) { role_ = std::move(role); }
  RoleLogic& role() { return *role_; }
  const Config& config() const { return *config_; }
  std::size_t index() const { return index_; }
  Loop& loop() { return loop_; }
  Timers& timers() { return timers_; }
  Directory& directory() { return directory_; }
  SlabPool& slabs() { return slabs_; }
  Budget& budget() { return budget_; }
  Shared& shared() { return shared_; }
  LinkTotals& link_totals() { return link_totals_; }
  // For a new link: to all services, or to one.
  Hello hello(const ServiceConfig* service) const;
  SessionLimits session_limits() const;
  Time now() { return loop_.now(); }

  // Runs in the calling thread until the worker was drained or ended. `on_done` is called once it has nothing left.
  void run();
  // From any thread.
  void post(std::function<void()> task) { loop_.post(std::move(task)); }

  // Ends with the conversations: those that are left at `deadline` are reset. `on_done` is called in this thread.
  void drain(Time deadline, std::function<void()> on_done);
  // Ends at once: what is left is reset.
  void end_now();

  // --- What lives here, by id ---
  std::uint64_t new_id() { return ++last_id_; }
  Relay& add_relay(std::unique_ptr<Relay> relay);
  Peer& add_peer(int fd, bool connecting, std::string name, const ServiceConfig* service);
  void add_builtin(Endpoint::Kind kind, int fd);
  Relay* find_relay(OwnerId id);  // of one of its legs, too
  Peer* find_peer(PeerId id);
  template <typename Visit>
  void for_each_peer(Visit visit) {
    for (auto& [id, peer] : peers_) visit(*peer);
  }

  // --- The turn ---
  MutableBytes read_buffer() { return read_buffer_; }
  // The peer has something to write, or has ended: it is flushed at the end of the turn.
  void touch(Peer& peer);
  // Destroyed at the end of the turn.
  void retire(Relay& relay) { retired_relays_.push_back(relay.id()); }

  // Looks behind the last bytes of a relay once it was quiet for so long: see Relay::look_behind.
  static constexpr Duration kLookBehindAfter = std::chrono::milliseconds(50);
  void look_behind_later(Relay& relay);

  // Gathers what came for one relay, to write it at once; a part for another one, or flush_run(), writes it.
  void add_to_run(OwnerId leg, Bytes part, bool ends_frame);
  void flush_run();

  double random() { return std::uniform_real_distribution<double>(0, 1)(random_); }
  std::uint64_t random_bits() { return random_(); }
  Uuid new_conversation();

 private:
  static constexpr std::size_t kReadBuffer = 512 * 1024;
  static constexpr int kMostParts = 64;

  void end_turn();
  void run_timers();
  void look_behind_relays();
  void reap();
  void check_drained();
  void abort_everything();

  std::shared_ptr<const Config> config_;
  Shared& shared_;
  std::size_t index_;
  Loop loop_;
  Timers timers_;
  SlabPool slabs_;
  Budget budget_;
  std::vector<std::byte> read_buffer_;
  std::mt19937_64 random_;
  std::uint64_t last_id_ = 0;
  Directory directory_{*this};
  LinkTotals link_totals_{timers_, new_id()};

  std::unordered_map<OwnerId, std::unique_ptr<Relay>> relays_;
  std::unordered_map<PeerId, std::unique_ptr<Peer>> peers_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Builtin>> builtins_;
  std::unique_ptr<RoleLogic> role_;
  std::vector<PeerId> touched_;
  std::vector<OwnerId> retired_relays_;
  std::vector<std::uint64_t> retired_builtins_;

  std::vector<OwnerId> emptied_relays_;
  Timers::Key look_key_ = new_id();
  Time look_armed_ = Time::max();

  OwnerId run_leg_ = 0;
  iovec run_[kMostParts];
  int run_count_ = 0;
  std::size_t run_size_ = 0;
  std::size_t run_part_ = 0;  // bytes at its end, of a frame that has not all arrived

  bool draining_ = false;
  Time drain_deadline_ = Time::max();
  Time drain_armed_ = Time::max();
  std::uint64_t drain_key_ = 0;
  std::function<void()> on_drained_;
};

}  // namespace cloudbus
