// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/wire/codes.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

TEST(LinkCode, HasTheNamesOfTheTable) {
  const char* names[] = {"no-error",          "frame-error",  "protocol-error", "credit-error",
                         "wrong-role",        "version",      "unsupported",    "flood",
                         "handshake-timeout", "ping-timeout", "shutdown",       "unknown-session"};
  for (std::uint16_t wire = 0; wire < std::size(names); wire++) EXPECT_EQ(name_of(link_code(wire)), names[wire]);
}

TEST(LinkCode, AnUnknownOneIsAProtocolError) {
  for (unsigned wire : {12u, 13u, 255u, 256u, 65'535u})
    EXPECT_EQ(link_code(static_cast<std::uint16_t>(wire)), LinkCode::ProtocolError) << wire;
}

TEST(StreamCode, HasTheNamesOfTheTable) {
  const char* names[] = {"cancelled",          "client-reset",  "server-reset",   "unknown-service", "connect-failed",
                         "connect-timeout",    "overload",      "no-descriptors", "going-away",      "idle-timeout",
                         "half-close-timeout", "drain-timeout", "lost-race",      "lagging",         "no-quorum"};
  for (std::uint16_t wire = 0; wire < std::size(names); wire++) EXPECT_EQ(name_of(stream_code(wire)), names[wire]);
  EXPECT_EQ(name_of(StreamCode::LinkLost), "link-lost");
}

TEST(StreamCode, AnUnknownOneIsTreatedAsCancelled) {
  for (unsigned wire : {15u, 255u, 256u, 65'535u})
    EXPECT_EQ(stream_code(static_cast<std::uint16_t>(wire)), StreamCode::Cancelled) << wire;
}

TEST(StreamCode, SomeAreMadeLocallyAndNeverRead) {
  EXPECT_EQ(stream_code(15), StreamCode::Cancelled);
  EXPECT_EQ(stream_code(17), StreamCode::Cancelled);
  EXPECT_EQ(stream_code(16), StreamCode::ResumeTimeout);
  EXPECT_EQ(name_of(StreamCode::ResumeTimeout), "resume-timeout");
  EXPECT_EQ(name_of(StreamCode::SessionLost), "session-lost");
  for (StreamCode code : {StreamCode::NoLink, StreamCode::NoSegment})
    EXPECT_EQ(stream_code(static_cast<std::uint16_t>(code)), StreamCode::Cancelled) << name_of(code);
  for (StreamCode code : {StreamCode::ServerDown, StreamCode::NoPorts, StreamCode::Loop})
    EXPECT_EQ(stream_code(static_cast<std::uint16_t>(code)), code) << name_of(code);
}

}  // namespace
}  // namespace cloudbus
