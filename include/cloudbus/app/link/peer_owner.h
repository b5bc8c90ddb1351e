// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a role is told of its links.

#include <string>

#include "cloudbus/core/session/session.h"

namespace cloudbus {

class Peer;

class PeerOwner {
 public:
  // Both HELLOs were exchanged.
  virtual void on_established(Peer& peer) = 0;
  // Segment: a controller opened a stream.
  virtual void on_opened(Peer&, const Event&) {}
  virtual void on_room_for_streams(Peer&) {}
  virtual void on_going_away(Peer&) {}
  // It does not answer, though its link stands.
  virtual void on_unresponsive(Peer&) {}
  // The path of its link may be dead: Peer::is_suspect(). Again and again while it is.
  virtual void on_suspect(Peer&) {}
  // Its link is congested; for those that tell it.
  virtual void on_congested(Peer&) {}
  // It is destroyed after this.
  virtual void on_gone(Peer& peer) = 0;
  // Whether the session of a peer that has just lost its link is to wait for another one; then on_link_lost() comes.
  virtual bool may_resume(const Peer&) const { return false; }
  virtual void on_link_lost(Peer&, const std::string& /*reason*/) {}
  // On the link of `fresh`: a controller asks to resume a session, or a segment agreed to. `rest` came behind it.
  virtual void on_resume(Peer& /*fresh*/, const ResumeFrame&, Bytes /*rest*/) {}

 protected:
  ~PeerOwner() = default;
};

}  // namespace cloudbus
