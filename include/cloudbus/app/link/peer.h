// SPDX-License-Identifier: Apache-2.0
#pragma once

// The session with one controller or segment, and the link that carries it.

#include <memory>
#include <string>
#include <vector>

#include "cloudbus/app/link/links.h"
#include "cloudbus/core/session/session.h"
#include "cloudbus/net/link.h"

namespace cloudbus {

// Who may end what, by which call, and what the other side sees.
//
//   who, and what                       call                        the streams here         the other end
//   a conversation ends its stream      Session::finish, stop,      that one ends            FIN, STOP or RESET
//                                       reset
//   the role wants no new streams       Session::drain()            go on                    GOAWAY
//   the role ends the session           close(code)                 reset: link-lost         CLOSE with the code
//   the session finds an error          receive()                   reset: link-lost         CLOSE with the code
//   the other end: CLOSE                receive()                   reset: link-lost         -
//   the link breaks, or a ping has      lose()                      wait for another link;   its link breaks, too; a
//   no answer                                                       else reset: link-lost    session that is not
//                                                                                            resumable gets CLOSE
//   a service waits no longer           expire()                    its own are reset:       RESET, on the next link
//                                                                   resume-timeout
//   nobody waits any longer             expire(), give_up(code)     reset with the code      unknown-session, if it
//                                                                                            asks again
//   another link takes the session      hand_over(), take_over()    go on                    RESUME
//
// "Reset" is Conversation::on_reset(): what came before is delivered. close() and errors are seen by flush(), at the
// end of the turn.
class Peer final : public TimerOwner, private LinkOwner, private FrameTrace {
 public:
  // `name` is the address for the log. `connecting` when the socket is not connected yet.
  Peer(Links& links, PeerId id, int fd, bool connecting, std::string name, const Origin& origin);
  ~Peer();

  PeerId id() const { return id_; }
  const std::string& name() const { return name_; }
  // The name without what kind of address it is: "10.0.0.2:9000".
  std::string address() const { return name_.starts_with("tcp://") ? name_.substr(6) : name_; }
  const Origin& origin() const { return origin_; }
  // What its session is called in the logs of both ends: the first digits of its id, or "-" where it has none.
  std::string session_name() const;
  // Both ends of the link are on one host.
  bool is_of_this_host() const { return link_ && link_->is_of_this_host(); }
  Session& session() { return session_; }
  const Session& session() const { return session_; }
  bool is_gone() const { return gone_; }
  bool was_established() const { return was_established_; }
  // It has sent at least one byte.
  bool was_heard() const { return was_heard_; }
  // Why it is gone, for the log.
  const std::string& reason() const { return reason_; }
  LinkCode code() const { return session_.closed().error.code; }
  bool was_given_up() const { return given_up_; }
  std::size_t lost_streams() const { return lost_streams_; }

  bool tells_congestion = false;  // to the role
  bool is_touched = false;        // it stands in the list of Links for the end of the turn

  // The end of a turn: takes bytes from the streams whose turn it is, and writes once. True when there is more to do.
  bool flush();
  void close(LinkCode code, std::string reason) { session_.close(code, std::move(reason)); }
  void on_deadline(Time now) override;
  // A ping is not answered for so long that this may be a peer that is stopped.
  bool is_unresponsive() const;
  // That ping had as long again to be answered, and no sign of life came from the other end's kernel either: the path
  // may be dead.
  bool is_suspect() const;
  // What it has to write waits for longer than a round trip.
  bool is_congested() const;

  // All that it had to write was written when the last turn ended.
  bool keeps_up() const { return session_.is_established() && link_ && !link_->is_blocked(); }

  // --- Resuming ---
  // The session waits for another link.
  bool is_detached() const { return session_.is_detached(); }
  Time lost_at() const { return lost_at_; }
  std::uint64_t replayed() const { return replayed_; }  // bytes that the last link had to carry again
  // The link is of no use any more: the session waits for another one, or ends.
  void lose(std::string reason);
  // The session waits no more.
  void give_up(StreamCode code, std::string reason);
  // A link that changes its peer: what is left to write of its start, and what came behind that.
  struct Handover {
    int fd;
    std::vector<std::byte> opening, rest;
  };
  // This peer gives its link away, and is gone.
  Handover hand_over(Bytes rest);
  bool has_handed_over() const { return handed_over_; }
  // The session goes on; the other end has all before `position`.
  void take_over(const Handover& link, std::uint64_t position);

 private:
  Time congested_at() const;
  Time suspect_at() const;
  std::unique_ptr<Link> make_link(int fd);
  void tell_role();
  void on_link_readable() noexcept override;
  void on_link_writable() noexcept override;
  void on_frame(bool is_sent, FrameType type, std::uint8_t flags, std::size_t length, StreamId stream) override;
  void look_at_level();
  bool finish_connecting();
  std::string closing_words() const;
  void dispatch(const Event& event);
  void resize_reads(bool full);
  void fill(Session::Quantum quantum);
  void end(std::string reason, StreamCode code = StreamCode::LinkLost);
  void receive(Bytes input);
  void expire(Time now);
  void arm();

  Links& links_;
  Context& context_;
  PeerId id_;
  std::string name_;
  Origin origin_;
  Session session_;
  std::unique_ptr<Link> link_;
  std::size_t read_size_;  // bytes
  int opens_in_read_ = 0;
  bool connecting_;
  bool was_heard_ = false, was_established_ = false;
  bool was_unresponsive_ = false, was_congested_ = false;  // the role knows of it
  Time look_at_suspect_ = Time::max();
  bool lost_with_streams_ = false;  // when it lost its link
  bool gone_ = false, given_up_ = false, handed_over_ = false;
  Time lost_at_{}, expires_at_{};  // while it is detached: since when, and when expire() has something to do
  std::uint64_t replayed_ = 0;
  std::string reason_;
  std::size_t lost_streams_ = 0;
  Time armed_ = Time::max();
};

}  // namespace cloudbus
