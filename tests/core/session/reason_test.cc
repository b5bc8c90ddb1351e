// SPDX-License-Identifier: Apache-2.0
// Why a stream was reset, for people: doc/protocol.md, section 3.4.

#include <gtest/gtest.h>

#include "core/session/session_end.h"

namespace cloudbus {
namespace {

using namespace wire;

constexpr std::string_view kReason = "10.0.0.2:5432: Connection refused";

// A session with stream 1, whose ends may say that they take reasons.
std::unique_ptr<SessionEnd> opened(Role role, bool own, bool peer) {
  auto end = std::make_unique<SessionEnd>(role, SessionLimits{}, SessionEnd::kMemory, Hello{.takes_reasons = own});
  Role other = role == Role::Controller ? Role::Segment : Role::Controller;
  Buffer fields = hello_fields(256 * 1024, other == Role::Segment ? 100 : 0) + (peer ? field(8, {}) : Buffer{});
  end->feed(preface(other) + frame(FrameType::Hello, 0, fields) + pong(1));
  role == Role::Controller ? void(end->session.open({{}, 0, "echo", "192.0.2.1:5000"}, 11)) : void(end->feed(open(1)));
  end->written();
  return end;
}

Buffer reset_with(std::string_view reason) { return frame(FrameType::Reset, 1, u16(4) + u64(0) + text(reason)); }

TEST(Reason, IsSentWhereBothEndsTakeIt) {
  auto end = opened(Role::Segment, true, true);
  end->session.reset(1, StreamCode::ConnectFailed, kReason);
  EXPECT_EQ(end->written(), reset_with(kReason));
}

TEST(Reason, IsNotSentToAPeerThatKnowsOfNone) {
  for (auto [own, peer] : {std::pair(true, false), std::pair(false, true)}) {
    auto end = opened(Role::Segment, own, peer);
    end->session.reset(1, StreamCode::ConnectFailed, kReason);
    EXPECT_EQ(end->written(), reset_with(""));
  }
}

TEST(Reason, IsCutAt256Bytes) {
  auto end = opened(Role::Segment, true, true);
  end->session.reset(1, StreamCode::ConnectFailed, std::string(1000, 'x'));
  EXPECT_EQ(end->written(), reset_with(std::string(256, 'x')));
}

TEST(Reason, ComesWithTheEvent) {
  auto end = opened(Role::Controller, true, true);
  Buffer bytes = reset_with(kReason);
  Bytes input(bytes);
  auto event = end->session.receive(input, end->now);
  ASSERT_TRUE(event && event->kind == EventKind::Reset);
  EXPECT_EQ(event->code, StreamCode::ConnectFailed);
  EXPECT_EQ(event->reason, kReason);
}

TEST(Reason, OneThatWasNotAgreedOnIsAnError) {
  auto end = opened(Role::Controller, true, false);
  end->feed(reset_with(kReason));
  EXPECT_EQ(end->code(), LinkCode::FrameError);
}

}  // namespace
}  // namespace cloudbus
