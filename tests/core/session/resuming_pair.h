// SPDX-License-Identifier: Apache-2.0
#pragma once

// A controller's and a segment's session that go on over many links, as Controller and Segment do it, with
// applications that exchange a fixed script of streams and check every byte.

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cloudbus/core/session/session.h"
#include "core/require.h"

namespace cloudbus {

class ResumingPair {
 public:
  static constexpr std::uint64_t kNoCut = ~std::uint64_t{0};

  // What one side of a stream does.
  struct Script {
    std::uint64_t to_send = 0;
    std::uint64_t reset_after = kNoCut;  // bytes that it sent
    std::uint64_t stop_after = kNoCut;   // bytes that it received
  };

  // A link: it ends when so many bytes were delivered to an end, or by itself.
  struct Plan {
    std::uint64_t cut_to_controller = kNoCut, cut_to_segment = kNoCut;
    bool segment_notices = true;  // before the next link is there
  };

  explicit ResumingPair(std::vector<std::pair<Script, Script>> streams, std::size_t chunk = 1'000,
                        std::uint64_t memory = 64 * 1024 * 1024)
      : chunk_(chunk), budgets_{Budget(memory), Budget(memory)}, scripts_(std::move(streams)) {
    limits_.initial_window = kMinWindow;
  }

  // Runs to the end of all streams; one link after the other has its plan, the last one never ends.
  void run(std::vector<Plan> plans) {
    std::ranges::reverse(plans);
    begin_link(take_plan(plans));
    for (int idle = 0; !is_over() && !was_refused_;) {
      require(++rounds_ < 2'000'000, "no end in sight");
      bool moved = false;
      for (int e = 0; e < 2; e++) moved |= step(e);
      if (is_cut_) {
        if (plans.empty() && plan_.cut_to_controller == kNoCut && plan_.cut_to_segment == kNoCut)
          throw std::runtime_error("the last link ended: " + why_);
        lose_link();
        begin_link(take_plan(plans));
        idle = 0;
        continue;
      }
      idle = moved ? 0 : idle + 1;
      if (idle < 3) continue;
      // Nothing moves: what the plan would have cut later is not cut, or time has to pass.
      now_ += std::chrono::milliseconds(500);
      for (int e = 0; e < 2; e++)
        if (Session* session = carried(e)) session->on_time(now_);
      require(idle < 100, "stuck: {}", tell());
    }
    if (!was_refused_) check_end();
  }

  std::uint64_t delivered(int e) const { return delivered_[e]; }
  std::uint64_t resumed() const { return resumed_; }
  bool was_refused() const { return was_refused_; }
  Session& session(int e) { return *main_[e]; }

 private:
  struct Side {
    Script script;
    StreamId stream = 0;
    std::uint64_t sent = 0, received = 0;
    bool exists = false, accepted = false, finished = false, fin_received = false;
    bool own_reset = false, was_reset = false, own_stop = false, was_stopped = false;
    bool over() const { return own_reset || was_reset || ((finished || was_stopped) && (fin_received || own_stop)); }
  };

  static SlabPool& slabs() {
    static SlabPool pool;
    return pool;
  }
  static std::byte byte_of(std::size_t stream, int from, std::uint64_t offset) {
    return static_cast<std::byte>((offset * 31 + offset / 251 + stream * 7 + static_cast<unsigned>(from) * 101));
  }

  Plan take_plan(std::vector<Plan>& plans) {
    if (plans.empty()) return {};
    Plan plan = plans.back();
    plans.pop_back();
    return plan;
  }

  Hello hello(int e) {
    Hello hello{.software = "pair"};
    hello.boot_id.fill(std::byte(e + 1));
    ResumeOffer& offer = hello.resume.emplace();
    offer.wait_ms = 30'000;
    offer.window = kMinWindow;
    offer.nonce.fill(static_cast<std::byte>(++nonces_));
    if (e == 1) {
      SessionKey& key = hello.session.emplace();
      key.id.fill(static_cast<std::byte>(nonces_));
      key.secret.fill(static_cast<std::byte>(nonces_ + 100));
    }
    return hello;
  }

  void begin_link(const Plan& plan) {
    plan_ = plan;
    is_cut_ = false;
    for (int e = 0; e < 2; e++) {
      pipes_[e].clear();
      arrived_[e] = 0;
      Role role = e == 0 ? Role::Controller : Role::Segment;
      fresh_[e] = std::make_unique<Session>(role, hello(e), limits_, slabs(), budgets_[e], now_);
      is_given_[e] = false;
    }
  }

  void lose_link() {
    if (plan_.segment_notices && main_[1]) main_[1]->detach();
    if (main_[0]) main_[0]->detach();
  }

  // The session that the link carries at an end; null once it has ended.
  Session* carried(int e) { return is_given_[e] ? main_[e].get() : fresh_[e].get(); }

  bool step(int e) {
    if (is_cut_) return false;
    bool moved = act(e);
    Session& session = *carried(e);
    while (pipes_[e].size() < chunk_ && session.output().size() > 0) {
      iovec parts[4];
      int count = session.output().gather(parts, 4);
      std::size_t put = 0;
      for (int i = 0; i < count && put < chunk_; i++) {
        auto* begin = static_cast<const std::byte*>(parts[i].iov_base);
        std::size_t part = std::min(parts[i].iov_len, chunk_ - put);
        pipes_[e].insert(pipes_[e].end(), begin, begin + part);
        put += part;
      }
      session.output().consume(put);
      session.on_written(now_);
      moved = true;
    }
    return deliver(e) || moved;
  }

  bool deliver(int e) {
    auto& pipe = pipes_[1 - e];
    std::uint64_t cut = e == 0 ? plan_.cut_to_controller : plan_.cut_to_segment;
    std::size_t part = std::min<std::uint64_t>({pipe.size(), chunk_, cut - arrived_[e]});
    std::vector<std::byte> bytes(pipe.begin(), pipe.begin() + static_cast<std::ptrdiff_t>(part));
    pipe.erase(pipe.begin(), pipe.begin() + static_cast<std::ptrdiff_t>(part));
    arrived_[e] += part;
    Bytes input(bytes);
    if (part > 0) receive(e, input);
    if (arrived_[e] == cut) is_cut_ = true, why_ = "cut";
    return part > 0;
  }

  void receive(int e, Bytes input) {
    now_ += std::chrono::microseconds(10);
    while (true) {
      Session& session = *carried(e);
      auto event = session.receive(input, now_);
      if (!event) break;
      if (!is_given_[e]) {
        on_fresh(e, *event, input);
        if (is_given_[e]) continue;  // the rest is of the session that goes on
        if (was_refused_ || event->kind == EventKind::Closed) return;
      } else {
        on_event(e, *event);
      }
    }
  }

  std::vector<std::byte> unsent(int e) {
    std::vector<std::byte> bytes;
    Output& output = fresh_[e]->output();
    while (!output.empty()) {
      iovec part;
      output.gather(&part, 1);
      auto* begin = static_cast<const std::byte*>(part.iov_base);
      bytes.insert(bytes.end(), begin, begin + part.iov_len);
      output.consume(part.iov_len);
    }
    return bytes;
  }

  void on_fresh(int e, const Event& event, Bytes&) {
    switch (event.kind) {
      case EventKind::Established:
        if (!main_[0] || (e == 1 && is_given_[0])) {
          main_[e] = std::move(fresh_[e]);
          is_given_[e] = true;
        } else if (e == 0) {
          fresh_[0]->ask_resume(*main_[0]);
        }
        return;
      case EventKind::ResumeAsked: {
        if (!main_[1]) {  // the segment has never seen the controller's HELLO: it refuses, and all streams are reset
          require(delivered_[1] == 0, "bytes of a session that was never there");
          was_refused_ = true;
          return;
        }
        ResumeClaim claim = fresh_[1]->claim_of(*event.resume);
        require(claim.session == main_[1]->key().id, "RESUME of another session");
        require(is_proven(claim, main_[1]->key().secret, event.resume->proof), "RESUME without a proof");
        main_[1]->detach();
        auto answer = main_[1]->accept_resume(claim);
        require(answer.has_value(), "RESUME was not accepted");
        auto opening = unsent(1);
        opening.insert(opening.end(), answer->begin(), answer->end());
        return give(1, event.resume->position, opening);
      }
      case EventKind::Resumed: resumed_++; return give(0, event.resume->position, unsent(0));
      case EventKind::Closed: throw std::runtime_error("a new link was closed: " + fresh_[e]->closed().error.reason);
      default: throw std::runtime_error("an event of a new link that should not be");
    }
  }

  void give(int e, std::uint64_t position, const std::vector<std::byte>& opening) {
    main_[e]->attach(position, opening, now_);
    require(!main_[e]->is_closed(), "not attached: {}", main_[e]->closed().error.reason);
    fresh_[e].reset();
    is_given_[e] = true;
  }

  // --- Applications ---

  Side& side(int e, StreamId stream) { return sides_[{e, stream}]; }

  bool act(int e) {
    Session* session = main_[e].get();
    if (!session || session->is_closed()) return false;
    bool moved = false;
    if (e == 0 && opened_ < scripts_.size() && session->can_open()) {
      StreamId id = session->open({{}, 0, "s", "c"}, opened_ + 1);
      Side& own = side(0, id);
      own = {.script = scripts_[opened_].first, .stream = id, .exists = true};
      side(1, id).script = scripts_[opened_++].second;
      session->want(id);
      moved = true;
    }
    for (auto& [key, own] : sides_) {
      if (key.first != e || !own.exists || own.over()) continue;
      if (e == 1 && !std::exchange(own.accepted, true)) session->accept(own.stream), session->want(own.stream);
      if (own.sent >= own.script.reset_after) {
        own.own_reset = moved = true;
        session->reset(own.stream, StreamCode::Cancelled);
        continue;
      }
      if (!own.own_stop && !own.fin_received && own.received >= own.script.stop_after) {
        own.own_stop = moved = true;
        session->stop(own.stream, StreamCode::Cancelled);
      }
      if (!own.finished && !own.was_stopped && own.sent == own.script.to_send && !own.over()) {
        own.finished = moved = true;
        session->finish(own.stream);
      }
    }
    while (session->output().size() < chunk_) {
      auto quantum = session->next_quantum();
      if (!quantum) break;
      fill(e, *session, *quantum);
      moved = true;
    }
    return moved;
  }

  void fill(int e, Session& session, const Session::Quantum& quantum) {
    Side& own = side(e, quantum.stream);
    std::uint64_t most = std::min(own.script.to_send, own.script.reset_after) - own.sent;
    if (own.over() || own.finished || most == 0) return session.fill_done(quantum.stream, 0, false);
    Output::Room room = session.reserve(quantum, std::min<std::uint64_t>(most, 700));
    std::size_t done = 0;
    for (int i = 0; i < room.count && done < most; i++)
      for (std::size_t j = 0; j < room.parts[i].iov_len && done < most; j++, done++)
        static_cast<std::byte*>(room.parts[i].iov_base)[j] = byte_of(quantum.stream, e, own.sent + done);
    own.sent += done;
    session.fill_done(quantum.stream, done, done < most);
  }

  void on_event(int e, const Event& event) {
    if (event.kind == EventKind::Closed)
      throw std::runtime_error(fmt::format("end {} closed: {}", e, main_[e]->closed().error.reason));
    if (event.kind == EventKind::Opened) {
      Side& own = side(1, event.stream);
      require(!own.exists, "OPEN twice");
      own.exists = true;
      own.stream = event.stream;
      main_[1]->adopt(event.stream, event.stream);
      return;
    }
    if (event.kind == EventKind::MoreStreams || event.kind == EventKind::GoingAway) return;
    Side& own = side(e, event.stream);
    Side& other = side(1 - e, event.stream);
    switch (event.kind) {
      case EventKind::Accepted: require(!std::exchange(own.accepted, true), "ACCEPT twice"); return;
      case EventKind::Data:
        for (std::byte byte : event.data) {
          require(byte == byte_of(event.stream, 1 - e, own.received), "other bytes at {}", own.received);
          own.received++;
        }
        require(own.received <= other.sent, "more bytes than were sent");
        delivered_[e] += event.data.size();
        main_[e]->consumed(event.stream, event.data.size(), now_);
        return;
      case EventKind::Finished:
        require(other.finished && own.received == other.sent && !own.fin_received, "a clean end that is none");
        own.fin_received = true;
        return;
      case EventKind::Stopped:
        require(other.own_stop && !own.was_stopped, "STOP");
        own.was_stopped = true;
        return;
      case EventKind::Reset:
        require(other.own_reset && !own.was_reset, "RESET");
        own.was_reset = true;
        return;
      default: throw std::runtime_error("an event that should not be");
    }
  }

  bool is_over() {
    if (opened_ < scripts_.size()) return false;
    return std::ranges::all_of(sides_, [](auto& entry) { return entry.second.exists && entry.second.over(); });
  }

  void check_end() {
    for (auto& [key, own] : sides_) {
      Side& other = side(1 - key.first, key.second);
      bool is_cut_short = own.own_reset || own.was_reset || own.own_stop;
      require(is_cut_short || own.received == other.script.to_send, "stream {} ended early", key.second);
    }
    for (int e = 0; e < 2; e++) {
      require(main_[e]->stream_count() == 0, "streams are left");
      main_[e].reset();
      fresh_[e].reset();
      require(budgets_[e].buffered() == 0 && budgets_[e].kept() == 0, "bytes are still counted");
    }
  }

  std::string tell() {
    std::string text;
    for (auto& [key, own] : sides_)
      text += fmt::format(" end {} stream {}: sent {} received {} over {};", key.first, key.second, own.sent,
                          own.received, own.over());
    for (int e = 0; e < 2; e++)
      text += fmt::format(" end {}: given {} arrived {} pipe {};", e, is_given_[e], arrived_[e], pipes_[e].size());
    return text;
  }

  std::size_t chunk_;
  SessionLimits limits_;
  Budget budgets_[2];
  std::vector<std::pair<Script, Script>> scripts_;
  Time now_{std::chrono::hours(1)};
  std::uint64_t rounds_ = 0, resumed_ = 0;
  unsigned nonces_ = 0;

  Plan plan_;
  bool is_cut_ = false, was_refused_ = false;
  std::string why_;
  std::vector<std::byte> pipes_[2];  // what each end wrote
  std::uint64_t arrived_[2] = {0, 0};
  std::unique_ptr<Session> fresh_[2], main_[2];
  bool is_given_[2] = {false, false};

  std::map<std::pair<int, StreamId>, Side> sides_;
  std::size_t opened_ = 0;
  std::uint64_t delivered_[2] = {0, 0};
};

}  // namespace cloudbus
