// SPDX-License-Identifier: Apache-2.0
#pragma once

// One end of the session protocol, without I/O: doc/protocol.md.
//
// Bytes that arrived go into receive(), which returns events; commands append to output(), which the link writes. Time
// comes in as an argument. Nothing here calls back.

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "cloudbus/core/base/bytes.h"
#include "cloudbus/core/base/time.h"
#include "cloudbus/core/flow/window.h"
#include "cloudbus/core/session/limits.h"
#include "cloudbus/core/session/output.h"
#include "cloudbus/core/session/scheduler.h"
#include "cloudbus/core/session/stream.h"
#include "cloudbus/core/wire/codes.h"
#include "cloudbus/core/wire/frame.h"
#include "cloudbus/core/wire/hello.h"

namespace cloudbus {

enum class EventKind : std::uint8_t {
  Established,  // the peer's HELLO was received: peer_hello()
  Opened,       // segment: a new stream; `request` says for which service. Answer with accept() or reset()
  Accepted,     // controller: the backend is connected
  Data,         // `data`, a part of a stream; valid as long as the bytes given to receive()
  Finished,     // the peer's FIN, after all of its data
  Stopped,      // the peer no longer reads; `code`
  Reset,        // the stream is gone; `code`
  MoreStreams,  // more streams may be opened
  GoingAway,    // the peer takes no new streams
  ResumeAsked,  // segment: the peer asks the link to carry another session, in `resume`: accept_resume() of that
                // session, or close(). The remaining input belongs to that session
  Resumed,      // controller: the answer to ask_resume(), in `resume`: attach() of the other session, which the
                // remaining input belongs to
  Closed,       // the session is over: closed()
};

struct Event {
  EventKind kind;
  StreamId stream = 0;
  OwnerId owner = 0;
  Bytes data{};
  bool ends_frame = false;  // `data` is the last of its frame; what the peer read in one go may end here
  StreamCode code = StreamCode::Cancelled;
  std::string_view reason{};             // of a Reset; valid as `data`
  const OpenRequest* request = nullptr;  // valid until the next call of receive()
  const ResumeFrame* resume = nullptr;   // as long as `request`
};

// Is told of every frame, for people who look for a fault.
class FrameTrace {
 public:
  // Of DATA that was sent, several frames may be told as one.
  virtual void on_frame(bool is_sent, FrameType type, std::uint8_t flags, std::size_t length, StreamId stream) = 0;

 protected:
  ~FrameTrace() = default;
};

// Why a session ended.
struct Closed {
  LinkError error;
  bool by_peer = false;
};

class Session {
 public:
  // A controller's preface and `hello` go to the output at once, a segment's when it has received the peer's preface.
  // The pool and the budget outlive the session.
  Session(Role role, const Hello& hello, const SessionLimits& limits, SlabPool& pool, Budget& budget, Time now);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Takes bytes off the front of `input` up to the next event. Call until there is no event: then all bytes were taken.
  std::optional<Event> receive(Bytes& input, Time now);

  // --- Streams -------------------------------------------------------------------------------------------------

  // Whether open() would succeed now.
  bool can_open() const;
  StreamId open(const OpenRequest& request, OwnerId owner);

  // Segment: names the owner of a stream that was opened.
  void adopt(StreamId stream, OwnerId owner);
  void accept(StreamId stream);

  // The owner has bytes to send. This holds until fill_done() says that there are no more.
  void want(StreamId stream);

  struct Quantum {
    StreamId stream;
    OwnerId owner;
    std::size_t bytes;  // at most
  };
  // The next stream that may send. Answer each quantum with fill_done(), after reserve() or without.
  std::optional<Quantum> next_quantum();
  bool has_quanta() const { return !scheduler_.empty() && state_ == State::Established && !is_full(); }
  Output::Room reserve(const Quantum& quantum, std::size_t bytes) {
    return output_.reserve(std::min(bytes, quantum.bytes));
  }
  // `bytes` were put into what was reserved; `more` when the owner may have more bytes.
  void fill_done(StreamId stream, std::size_t bytes, bool more);
  // Instead of reserve(): sends bytes that others share, no more than the quantum has. Then fill_done() with 0.
  void share(const Quantum& quantum, const Slice& bytes);

  // The direction toward the peer is complete.
  void finish(StreamId stream);
  // This end no longer reads.
  void stop(StreamId stream, StreamCode code);
  // Ends the stream at once, in both directions. The reason is for people; a peer that knows of none does not get it.
  void reset(StreamId stream, StreamCode code, std::string_view reason = {});
  // `bytes` that were received were handed on. `is_pressed`: there is little memory for this stream.
  void consumed(StreamId stream, std::size_t bytes, Time now, bool is_pressed);
  void consumed(StreamId stream, std::size_t bytes, Time now) { consumed(stream, bytes, now, budget_.pressed()); }
  // Segment: a stream and the work behind it have ended; the peer may open another stream.
  void release();

  // --- The session ---------------------------------------------------------------------------------------------

  // Null for none.
  void set_trace(FrameTrace* trace) { trace_ = trace; }
  bool is_established() const { return state_ == State::Established; }
  bool is_closed() const { return state_ == State::Closed; }
  const Closed& closed() const { return closed_; }
  const Hello& peer_hello() const { return peer_; }
  Duration round_trip() const { return round_trip_; }  // the smallest of the last 10 s; 0 is unknown
  std::size_t stream_count() const { return streams_.size(); }
  std::uint64_t streams_opened() const { return streams_opened_; }  // since the session began

  // Refuses new streams, in two steps: section 6.
  void drain(Time now);
  // The streams of a draining session have ended, and the peer knows which streams were taken.
  bool is_drained() const { return drain_ == Drain::Done && streams_.empty(); }
  bool peer_going_away() const { return peer_going_away_; }

  // Ends the session with CLOSE.
  void close(LinkCode code, std::string reason);

  // Some of the output was consumed: the wait for the answer to a ping begins when the kernel has taken the ping.
  void on_written(Time now);

  // Pings, unless an answer is awaited. Within `apart` after the last ping it waits, and then pings only if no byte has
  // come.
  void check(Time now, Duration apart = Duration::zero());
  // How long an answer may take before it is asked for: long enough for a slow link, short for whoever waits.
  Duration patience() const;
  // When a ping was sent that no byte has followed; Time::max() otherwise.
  Time silent_since() const;
  // Pings, acknowledges, and detects a silent peer. May end the session: look at is_closed() and is_silent().
  void on_time(Time now);
  Time next_deadline() const;

  Output& output() { return output_; }

  // --- Resuming: doc/protocol.md, section 9 --------------------------------------------------------------------
  //
  // A link begins with a session of its own, whose HELLOs say whether that session may be resumed. When the link of
  // such a session is lost, the session is detached. Then it takes over a new link, which began with another session:
  //
  //   controller:  lost.detach(), fresh is established: fresh.ask_resume(lost), Resumed, lost.attach()
  //   segment:     fresh says ResumeAsked, lost.detach() if not detached, lost.accept_resume(), lost.attach()

  // Both ends agreed that the session may be resumed.
  bool is_resumable() const { return key_.has_value(); }
  const SessionKey& key() const { return *key_; }
  // How long both ends wait for another link.
  Duration resume_wait() const { return resume_wait_; }
  // The peer did not answer a ping: call detach(). A session that is not resumable is closed instead.
  bool is_silent() const { return is_silent_; }

  // The link is gone. Commands are accepted, and written on the next link; no stream gets a quantum.
  void detach();
  bool is_detached() const { return state_ == State::Detached; }
  // Something would be lost if the session were not resumed: a stream, or bytes that the peer may not have.
  bool is_worth_resuming() const { return !streams_.empty() || output_.size() > 0 || output_.kept() > 0; }

  // Asks the peer to go on with `lost`, on this session's link.
  void ask_resume(Session& lost);
  // What the other end of this session's link claims with `resume`.
  ResumeClaim claim_of(const ResumeFrame& resume) const;
  // Returns the RESUME that answers `claim`, which was proven; nothing if an older epoch makes the claim stale.
  std::optional<std::array<std::byte, kHeaderSize + kResumeSize>> accept_resume(const ResumeClaim& claim);
  // Goes on at `position`, up to which the peer has all bytes. `opening` has the unwritten bytes of the session with
  // which the link began. If `position` is impossible, the session is closed.
  void attach(std::uint64_t position, Bytes opening, Time now);

  // The owners of all streams.
  std::vector<OwnerId> owners() const;
  template <typename Visit>
  void for_each_stream(Visit visit) const {
    for (const auto& [id, stream] : streams_) visit(id, stream.owner);
  }

  // Positions of section 2.3.
  std::uint64_t position_sent() const { return position_sent_; }
  std::uint64_t position_received() const { return position_received_; }

  const Stream* find(StreamId stream) const;

 private:
  //   preface --magic, version, role--> hello --HELLO--> established --error, CLOSE, close()--> closed
  //   established --detach()--> detached --attach()--> established
  //   established --RESUME, ask_resume()--> resuming: another session takes the link
  enum class State : std::uint8_t { Preface, Hello, Established, Resuming, Detached, Closed };
  //   none --drain()--> asked --reply to the ping--> done
  enum class Drain : std::uint8_t { None, Asked, Done };

  void greet();
  const std::byte* take(Bytes& input, std::size_t size);
  std::optional<Event> next_event(Bytes& input, Time now);
  std::optional<Event> receive_preface(Bytes& input);
  std::optional<Event> receive_data(Bytes& input);
  std::optional<Event> on_header(Time now);
  std::optional<Event> on_data_header(Time now);
  std::optional<Event> on_frame(Bytes payload, Time now);
  std::optional<Event> on_hello(Bytes payload, Time now);
  std::optional<Event> on_open(Bytes payload);
  std::optional<Event> on_accept(Bytes payload, Time now);
  std::optional<Event> on_credit(Bytes payload, Time now);
  std::optional<Event> on_reset(Bytes payload, Time now);
  std::optional<Event> on_stop(Bytes payload, Time now);
  std::optional<Event> on_max_streams(Bytes payload, Time now);
  std::optional<Event> on_ping(Bytes payload, Time now);
  std::optional<Event> on_go_away(Bytes payload, Time now);
  std::optional<Event> on_ack(Bytes payload, Time now);
  std::optional<Event> on_resume(Bytes payload);
  std::optional<Event> on_close(Bytes payload);
  std::optional<Event> on_fin();
  std::optional<Event> fail(LinkCode code, std::string reason);
  std::optional<Event> idle_frame(Time now);

  std::byte* append(FrameType type, StreamId stream, std::size_t length, std::uint8_t flags = 0);
  bool has_reasons() const { return own_.takes_reasons && peer_.takes_reasons; }
  void agree_on_resuming();
  bool is_full() const;
  std::uint64_t most_kept() const;
  void account();
  void acknowledge_some(Time now);
  void acknowledge();
  void ping(Time now);
  Time ping_deadline() const;
  void ping_late(Time now);
  Time ask_at() const;
  void on_heard(Time now);
  void measured(Duration sample, Time now);
  void grant_streams();
  void schedule(StreamId id, Stream& stream);
  bool was_opened(StreamId id) const;
  Stream* find_live(StreamId id);
  void erase_if_over(StreamId id, Stream& stream);
  void erase(StreamId id);

  Role role_;
  State state_ = State::Preface;
  Drain drain_ = Drain::None;
  bool peer_going_away_ = false;
  StreamId go_away_ = kNoMoreStreams;  // of the last GOAWAY
  SessionLimits limits_;
  Hello own_, peer_;
  Budget budget_;
  Output output_;
  Scheduler scheduler_;
  std::unordered_map<StreamId, Stream> streams_;
  Closed closed_;
  FrameTrace* trace_ = nullptr;

  // What is being received: a preface, a header, or the payload of a frame that is not DATA.
  std::array<std::byte, kHeaderSize + kMaxControl> partial_;
  std::size_t partial_size_ = 0;
  bool greeted_ = false;   // our preface was sent
  bool in_frame_ = false;  // header_ was taken, and its payload is not complete
  FrameHeader header_{};
  std::size_t data_left_ = 0;  // of the payload of DATA
  OpenRequest request_;

  StreamId last_stream_ = 0;  // the greatest id opened, by either end
  std::uint64_t streams_opened_ = 0, streams_released_ = 0;
  std::uint64_t max_streams_own_ = 0;   // streams that the peer was granted
  std::uint64_t max_streams_peer_ = 0;  // streams that the peer grants
  std::uint64_t position_sent_ = 0, position_received_ = 0, position_acked_ = 0;

  // Resuming.
  std::optional<SessionKey> key_;  // if both ends agreed
  Duration resume_wait_{0};
  std::uint64_t resume_window_ = 0;  // bytes that are kept
  std::uint64_t ack_every_ = 0;      // bytes
  std::uint64_t ack_sent_ = 0;       // position
  Time ack_due_ = Time::max();
  std::uint64_t held_ = 0;  // kept bytes, as counted in the budget
  std::uint64_t epoch_ = 0;
  std::optional<SessionKey> asked_;  // the session to be resumed on this link
  std::uint64_t asked_epoch_ = 0;
  ResumeFrame resume_;
  bool is_silent_ = false;

  static constexpr TokenBucket kPingLimit{64, 16};  // on one link
  TokenBucket idle_frames_{8192, 1024}, pings_ = kPingLimit;
  Time started_, last_received_;
  Time ping_sent_{};                             // of the last ping
  bool ping_pending_ = false;                    // no reply to it yet
  Time check_asked_{}, check_at_ = Time::max();  // of a check() too soon after the last ping
  std::uint64_t ping_value_ = 0;
  std::uint64_t ping_end_ = 0;      // Output::taken() once the ping has been taken
  std::uint64_t taken_before_ = 0;  // Output::taken() at the last look
  Time ping_moved_{};               // when the kernel last took a part of the ping or of the bytes before it
  struct RoundTrip {
    Time at;
    Duration took;
  };
  std::deque<RoundTrip> round_trips_;  // of the last 10 s
  Duration round_trip_{0};
  // Something went out that nothing has followed: since then; Time::max() otherwise.
  Time unanswered_since_ = Time::max();
  std::uint64_t taken_when_heard_ = 0;  // Output::taken()
};

}  // namespace cloudbus
