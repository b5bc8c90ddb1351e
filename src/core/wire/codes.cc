// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/wire/codes.h"

namespace cloudbus {

std::string_view name_of(Role role) { return role == Role::Controller ? "controller" : "segment"; }

std::string_view name_of(LinkCode code) {
  switch (code) {
    case LinkCode::NoError: return "no-error";
    case LinkCode::FrameError: return "frame-error";
    case LinkCode::ProtocolError: return "protocol-error";
    case LinkCode::CreditError: return "credit-error";
    case LinkCode::WrongRole: return "wrong-role";
    case LinkCode::Version: return "version";
    case LinkCode::Unsupported: return "unsupported";
    case LinkCode::Flood: return "flood";
    case LinkCode::HandshakeTimeout: return "handshake-timeout";
    case LinkCode::PingTimeout: return "ping-timeout";
    case LinkCode::Shutdown: return "shutdown";
    case LinkCode::UnknownSession: return "unknown-session";
  }
  return "unknown";
}

std::string_view name_of(StreamCode code) {
  switch (code) {
    case StreamCode::Cancelled: return "cancelled";
    case StreamCode::ClientReset: return "client-reset";
    case StreamCode::ServerReset: return "server-reset";
    case StreamCode::UnknownService: return "unknown-service";
    case StreamCode::ConnectFailed: return "connect-failed";
    case StreamCode::ConnectTimeout: return "connect-timeout";
    case StreamCode::Overload: return "overload";
    case StreamCode::NoDescriptors: return "no-descriptors";
    case StreamCode::GoingAway: return "going-away";
    case StreamCode::IdleTimeout: return "idle-timeout";
    case StreamCode::HalfCloseTimeout: return "half-close-timeout";
    case StreamCode::DrainTimeout: return "drain-timeout";
    case StreamCode::LostRace: return "lost-race";
    case StreamCode::Lagging: return "lagging";
    case StreamCode::NoQuorum: return "no-quorum";
    case StreamCode::LinkLost: return "link-lost";
    case StreamCode::ResumeTimeout: return "resume-timeout";
    case StreamCode::SessionLost: return "session-lost";
    case StreamCode::ServerDown: return "server-down";
    case StreamCode::NoPorts: return "no-ports";
    case StreamCode::Loop: return "loop";
    case StreamCode::NoLink: return "no-link";
    case StreamCode::NoSegment: return "no-segment";
  }
  return "unknown";
}

bool is_failure(StreamCode code) {
  switch (code) {
    case StreamCode::Cancelled:
    case StreamCode::ClientReset:
    case StreamCode::ServerReset:
    case StreamCode::IdleTimeout:
    case StreamCode::HalfCloseTimeout:
    case StreamCode::DrainTimeout:
    case StreamCode::LostRace: return false;
    case StreamCode::UnknownService:
    case StreamCode::ConnectFailed:
    case StreamCode::ConnectTimeout:
    case StreamCode::Overload:
    case StreamCode::NoDescriptors:
    case StreamCode::GoingAway:
    case StreamCode::Lagging:
    case StreamCode::NoQuorum:
    case StreamCode::LinkLost:
    case StreamCode::ResumeTimeout:
    case StreamCode::SessionLost:
    case StreamCode::ServerDown:
    case StreamCode::NoPorts:
    case StreamCode::Loop:
    case StreamCode::NoLink:
    case StreamCode::NoSegment: return true;
  }
  return false;
}

LinkCode link_code(std::uint16_t wire) {
  return wire <= static_cast<std::uint16_t>(LinkCode::UnknownSession) ? LinkCode{wire} : LinkCode::ProtocolError;
}

StreamCode stream_code(std::uint16_t wire) {
  constexpr auto kLast = static_cast<std::uint16_t>(StreamCode::Loop);
  constexpr auto kLinkLost = static_cast<std::uint16_t>(StreamCode::LinkLost);
  constexpr auto kSessionLost = static_cast<std::uint16_t>(StreamCode::SessionLost);
  bool is_known = wire <= kLast && wire != kLinkLost && wire != kSessionLost;
  return is_known ? StreamCode{wire} : StreamCode::Cancelled;
}

}  // namespace cloudbus
