// SPDX-License-Identifier: Apache-2.0
#pragma once

// The roles and the codes of doc/protocol.md, sections 1.1 and 5.

#include <cstdint>
#include <string_view>

namespace cloudbus {

enum class Role : std::uint8_t { Controller = 1, Segment = 2 };

// Section 5.1: why a link is closed.
enum class LinkCode : std::uint16_t {
  NoError = 0,
  FrameError = 1,
  ProtocolError = 2,
  CreditError = 3,
  WrongRole = 4,
  Version = 5,
  Unsupported = 6,
  Flood = 7,
  HandshakeTimeout = 8,
  PingTimeout = 9,
  Shutdown = 10,
  UnknownSession = 11,
};

// Section 5.2: why a stream was reset or stopped.
enum class StreamCode : std::uint16_t {
  Cancelled = 0,
  ClientReset = 1,
  ServerReset = 2,
  UnknownService = 3,
  ConnectFailed = 4,
  ConnectTimeout = 5,
  Overload = 6,
  NoDescriptors = 7,
  GoingAway = 8,
  IdleTimeout = 9,
  HalfCloseTimeout = 10,
  DrainTimeout = 11,
  LostRace = 12,
  Lagging = 13,
  NoQuorum = 14,
  LinkLost = 15,  // never on the wire
  ResumeTimeout = 16,
  SessionLost = 17,  // never on the wire
  ServerDown = 18,
  NoPorts = 19,
  Loop = 20,
  NoLink = 21,     // never on the wire
  NoSegment = 22,  // never on the wire
};

// The link broke: it is not known which bytes of the stream the other end has.
constexpr bool is_loss(StreamCode code) {
  return code == StreamCode::LinkLost || code == StreamCode::ResumeTimeout || code == StreamCode::SessionLost;
}

// The client got nothing of what it came for, and somebody should know: its line in the log is a warning.
bool is_failure(StreamCode code);

std::string_view name_of(Role role);
std::string_view name_of(LinkCode code);
std::string_view name_of(StreamCode code);

// Codes from the wire; unknown ones become ProtocolError and Cancelled.
LinkCode link_code(std::uint16_t wire);
StreamCode stream_code(std::uint16_t wire);

}  // namespace cloudbus
