// SPDX-License-Identifier: Apache-2.0
// GOAWAY in two steps, and CLOSE: doc/protocol.md, section 6.

#include <gtest/gtest.h>

#include "core/session/session_end.h"

namespace cloudbus {
namespace {

using namespace wire;

const OpenRequest kRequest{{}, 0, "echo", ""};

TEST(GoAway, TheFirstStepSaysNoNewStreamsAndPings) {
  auto end = SessionEnd::ready(Role::Segment);
  end->session.drain(end->now);
  EXPECT_EQ(end->written(), go_away(kNoMoreStreams) + ping(2));
  EXPECT_FALSE(end->session.is_drained());
}

TEST(GoAway, StreamsThatWereUnderWayAreTaken) {
  auto end = SessionEnd::ready(Role::Segment);
  end->session.drain(end->now);
  EXPECT_EQ(end->feed(open(1)), "opened 1 echo");
}

TEST(GoAway, TheSecondStepNamesTheLastStreamThatWasTaken) {
  auto end = SessionEnd::ready(Role::Segment);
  end->feed(open(3));
  end->session.drain(end->now);
  end->written();
  end->feed(open(7) + pong(2));
  EXPECT_EQ(end->written(), go_away(7));
}

TEST(GoAway, AStreamAfterTheSecondStepIsRefusedAsGoingAway) {
  auto end = SessionEnd::ready(Role::Segment);
  end->session.drain(end->now);
  end->feed(pong(2));
  end->written();
  EXPECT_EQ(end->feed(open(8) + data(8, "early")), "");
  EXPECT_EQ(end->written(), reset(8, 8, 0));
}

TEST(GoAway, ASessionIsDrainedWhenItsLastStreamIsOver) {
  auto end = SessionEnd::ready(Role::Segment);
  end->feed(open(1));
  end->session.drain(end->now);
  end->feed(pong(2));
  EXPECT_FALSE(end->session.is_drained());
  end->feed(fin(1));
  end->session.finish(1);
  EXPECT_TRUE(end->session.is_drained());
  end->written();
  end->session.close(LinkCode::NoError, "drained");
  EXPECT_EQ(end->written(), close(0, "drained"));
}

TEST(GoAway, AnotherReplyIsNotTheOneThatIsWaitedFor) {
  auto end = SessionEnd::ready(Role::Segment);
  end->session.drain(end->now);
  end->written();
  end->feed(pong(1) + pong(3));
  EXPECT_TRUE(end->written().empty());
  EXPECT_FALSE(end->session.is_drained());
  end->feed(pong(2));
  EXPECT_TRUE(end->session.is_drained());
}

TEST(GoAway, AReplyToALaterPingWillDo) {
  auto end = SessionEnd::ready(Role::Segment);
  end->session.drain(end->now);
  end->now += std::chrono::seconds(1);
  end->feed(open(1));  // it lives, but has not answered
  end->now += std::chrono::seconds(5);
  end->session.on_time(end->now);
  end->written();
  end->feed(pong(3));
  EXPECT_EQ(end->written(), go_away(1));
}

TEST(GoAway, DrainingTwiceChangesNothing) {
  auto end = SessionEnd::ready(Role::Segment);
  end->session.drain(end->now);
  end->written();
  end->session.drain(end->now);
  EXPECT_TRUE(end->written().empty());
}

TEST(GoAway, AControllerThatIsToldOpensNoMoreStreams) {
  auto end = SessionEnd::ready(Role::Controller);
  end->session.open(kRequest, 1);
  EXPECT_EQ(end->feed(go_away(kNoMoreStreams)), "going-away");
  EXPECT_TRUE(end->session.peer_going_away());
  EXPECT_FALSE(end->session.can_open());
  EXPECT_EQ(end->feed(accept(1) + data(1, "goes on") + go_away(1)), "accepted 1; data 1 goes on");
}

TEST(GoAway, AControllerThatDrainsOpensNoMoreStreams) {
  auto end = SessionEnd::ready(Role::Controller);
  end->session.drain(end->now);
  EXPECT_FALSE(end->session.can_open());
  end->feed(pong(2));
  EXPECT_TRUE(end->session.is_drained());
}

TEST(GoAway, AnIdThatGrowsClosesTheLink) {
  auto end = SessionEnd::ready(Role::Controller);
  EXPECT_EQ(end->feed(go_away(10) + go_away(9) + go_away(9)), "going-away");
  EXPECT_EQ(end->feed(go_away(10)), "closed protocol-error");
}

TEST(GoAway, OnlyASessionThatIsReadyDrains) {
  SessionEnd end(Role::Controller);
  end.written();
  end.session.drain(end.now);
  EXPECT_TRUE(end.written().empty());
}

TEST(Close, TellsTheCodeAndTheReason) {
  auto end = SessionEnd::ready(Role::Controller);
  end->session.close(LinkCode::Shutdown, "the process ends");
  EXPECT_EQ(end->written(), close(10, "the process ends"));
  EXPECT_FALSE(end->session.closed().by_peer);
}

TEST(Close, EveryCodeOfTheTableArrives) {
  for (std::uint16_t code = 0; code <= 10; code++) {
    auto end = SessionEnd::ready(Role::Segment);
    EXPECT_EQ(end->feed(close(code, "why")), fmt::format("closed {}", name_of(LinkCode{code})));
    EXPECT_EQ(end->session.closed().error.reason, "why");
    EXPECT_TRUE(end->session.closed().by_peer);
  }
  EXPECT_EQ(SessionEnd::ready(Role::Segment)->feed(close(99)), "closed protocol-error");
}

TEST(Close, IsNotAnswered) {
  auto end = SessionEnd::ready(Role::Segment);
  end->feed(close(10, "bye"));
  EXPECT_TRUE(end->written().empty());
}

}  // namespace
}  // namespace cloudbus
