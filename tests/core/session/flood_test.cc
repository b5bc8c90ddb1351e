// SPDX-License-Identifier: Apache-2.0
// The floods, by the names under which other protocols met them: doc/protocol.md, section 7.

#include <gtest/gtest.h>

#include "core/session/session_end.h"

namespace cloudbus {
namespace {

using namespace wire;
using std::chrono::milliseconds;
using std::chrono::seconds;

const OpenRequest kRequest{{}, 0, "echo", ""};

std::unique_ptr<SessionEnd> segment(std::uint64_t max_streams = 32'768) {
  SessionLimits limits;
  limits.max_streams = max_streams;
  return SessionEnd::ready(Role::Segment, limits);
}
std::unique_ptr<SessionEnd> accepted() {
  auto end = segment();
  end->feed(open(1));
  end->session.accept(1);
  end->written();
  return end;
}
std::unique_ptr<SessionEnd> opened() {
  auto end = SessionEnd::ready(Role::Controller);
  end->session.open(kRequest, 1);
  end->feed(accept(1));
  end->written();
  return end;
}

// How many of these frames a session takes before it ends.
int taken(SessionEnd& end, const Buffer& frame, int most = 20'000) {
  for (int i = 0; i < most; i++) {
    end.feed(frame);
    if (end.session.is_closed()) return i;
    end.written();
  }
  return most;
}

void expect_flood(SessionEnd& end, const char* reason) {
  EXPECT_EQ(end.code(), LinkCode::Flood);
  EXPECT_EQ(end.session.closed().error.reason, reason);
  EXPECT_FALSE(end.session.closed().by_peer);
}
constexpr const char* kIdle = "too many frames that change nothing";

// --- Rapid reset, MadeYouReset ---

TEST(Flood, RapidResetGainsNoMoreStreamsThanMaxStreams) {
  auto end = segment(100);
  int streams = 0;
  for (StreamId id = 1; !end->session.is_closed(); id++) {
    std::string events = end->feed(open(id) + reset(id, 0, 0));
    streams += events.starts_with("opened");
  }
  EXPECT_EQ(streams, 100);
  EXPECT_EQ(end->code(), LinkCode::ProtocolError);
}

TEST(Flood, MadeYouResetGainsNoMoreStreamsThanMaxStreams) {
  auto end = segment(100);
  int streams = 0;
  for (StreamId id = 1; !end->session.is_closed(); id++) {
    if (!end->feed(open(id)).starts_with("opened")) break;
    streams++;
    end->session.reset(id, StreamCode::ConnectFailed);  // its work goes on: there is no release() yet
  }
  EXPECT_EQ(streams, 100);
  EXPECT_EQ(end->code(), LinkCode::ProtocolError);
}

TEST(Flood, RefusalsThatNobodyReadsCloseTheLink) {
  auto end = segment(100);
  for (StreamId id = 1; id < 1'000'000 && !end->session.is_closed(); id++) {
    if (!end->feed(open(id, "none")).starts_with("opened")) break;
    end->session.reset(id, StreamCode::UnknownService);
    end->session.release();
  }
  expect_flood(*end, "the peer asks for answers and reads none");
  EXPECT_LT(end->session.output().size(), 9u * 1024 * 1024);
}

TEST(Flood, RefusalsWhileDrainingThatNobodyReadsCloseTheLink) {
  SessionLimits limits;
  limits.max_unwritten = 10'000;
  auto end = SessionEnd::ready(Role::Segment, limits);
  end->session.drain(end->now);
  end->feed(pong(2));
  for (StreamId id = 1; id < 1'000'000 && !end->session.is_closed(); id++) end->feed(open(id));
  expect_flood(*end, "the peer asks for answers and reads none");
}

TEST(Flood, CreditThatNobodyReadsClosesTheLink) {
  SessionLimits limits;
  limits.max_unwritten = 1'000;
  auto end = SessionEnd::ready(Role::Segment, limits);
  end->feed(open(1));
  for (int i = 0; i < 10'000 && !end->session.is_closed(); i++) {
    end->feed(data(1, zeros(60'000)));
    end->now += seconds(1);
    end->session.consumed(1, 60'000, end->now);
  }
  expect_flood(*end, "the peer asks for answers and reads none");
}

// --- Pings ---

TEST(Flood, PingsPast64AtOnceCloseTheLink) {
  auto end = segment();
  EXPECT_EQ(taken(*end, ping(1)), 64);
  expect_flood(*end, "too many pings");
}

TEST(Flood, SixteenPingsASecondAreFine) {
  auto end = segment();
  for (int i = 0; i < 10'000; i++) {
    end->now += milliseconds(63);
    end->feed(ping(1));
    end->written();
  }
  EXPECT_FALSE(end->session.is_closed());
}

TEST(Flood, PingsThatNobodyReadsTheAnswersOfCloseTheLink) {
  SessionLimits limits;
  limits.max_unwritten = 1'000;
  auto end = SessionEnd::ready(Role::Segment, limits);
  for (int i = 0; i < 1'000 && !end->session.is_closed(); i++) {
    end->now += seconds(1);
    end->feed(ping(1));
  }
  expect_flood(*end, "the peer asks for answers and reads none");
}

TEST(Flood, RepliesToNoPingCloseTheLink) {
  auto end = segment();
  EXPECT_EQ(taken(*end, pong(99)), 8'192);
  expect_flood(*end, kIdle);
}

// --- Settings: HELLO twice ---

TEST(Flood, ASecondHelloClosesTheLink) {
  auto end = segment();
  EXPECT_EQ(taken(*end, hello()), 0);
  EXPECT_EQ(end->closed(), "protocol-error: a second HELLO");
}

// --- Frames that change nothing ---

TEST(Flood, DataWithoutBytesClosesTheLink) {
  auto end = accepted();
  EXPECT_EQ(taken(*end, data(1, "")), 8'192);
  expect_flood(*end, kIdle);
}

TEST(Flood, CreditThatDoesNotAdvanceClosesTheLink) {
  auto end = accepted();
  EXPECT_EQ(taken(*end, credit(1, 0)), 8'192);
  expect_flood(*end, kIdle);
}

TEST(Flood, CreditThatGoesBackwardsClosesTheLink) {
  auto end = accepted();
  end->feed(credit(1, 10'000'000));
  EXPECT_EQ(taken(*end, credit(1, 9'999'999)), 8'192);
  expect_flood(*end, kIdle);
}

TEST(Flood, MaxStreamsThatDoesNotAdvanceClosesTheLink) {
  auto end = opened();
  EXPECT_EQ(taken(*end, max_streams(1)), 8'192);
  expect_flood(*end, kIdle);
  auto other = segment();
  EXPECT_EQ(taken(*other, max_streams(~std::uint64_t{0})), 8'192);
}

TEST(Flood, AckThatDoesNotAdvanceClosesTheLink) {
  auto end = accepted();
  EXPECT_EQ(taken(*end, ack(0)), 8'192);
  expect_flood(*end, kIdle);
}

TEST(Flood, GoAwayThatDoesNotAdvanceClosesTheLink) {
  auto end = opened();
  EXPECT_EQ(taken(*end, go_away(1)), 8'193);
  expect_flood(*end, kIdle);
}

TEST(Flood, FramesForAStreamThatIsOverCloseTheLink) {
  for (const Buffer& late : {credit(1, 1'000'000), stop(1), reset(1, 0, 0), fin(1), data(1, "")}) {
    auto end = accepted();
    end->session.reset(1, StreamCode::ServerReset);
    EXPECT_EQ(taken(*end, late), 8'192);
    expect_flood(*end, kIdle);
  }
  auto end = opened();
  end->session.reset(1, StreamCode::ClientReset);
  EXPECT_EQ(taken(*end, accept(1)), 8'192);
}

TEST(Flood, AStopThatIsRepeatedClosesTheLink) {
  auto end = accepted();
  EXPECT_EQ(taken(*end, stop(1)), 8'193);
  expect_flood(*end, kIdle);
}

TEST(Flood, DataWithBytesForAStreamThatIsOverIsNotIdle) {
  auto end = accepted();
  end->session.reset(1, StreamCode::ServerReset);
  EXPECT_EQ(taken(*end, data(1, "x")), 20'000);
}

TEST(Flood, AThousandIdleFramesASecondAreFine) {
  auto end = accepted();
  for (int i = 0; i < 50'000; i++) {
    end->now += Duration(1'000);
    end->feed(credit(1, 0));
  }
  EXPECT_FALSE(end->session.is_closed());
}

TEST(Flood, EachStreamThatIsOpenedAllowsSixteenMore) {
  auto end = accepted();
  int idle = 0;
  for (StreamId id = 2; id < 1'500; id++) {
    end->feed(open(id) + repeat(credit(id, 0), 16));
    idle += 16;
  }
  EXPECT_GT(idle, 2 * 8'192);
  EXPECT_FALSE(end->session.is_closed());
}

// --- Window starvation ---

TEST(Flood, WindowStarvationHoldsUpItsOwnStreamOnly) {
  auto end = SessionEnd::ready(Role::Controller, {}, SessionEnd::kMemory, 16'384);
  end->session.open(kRequest, 1);
  end->session.open(kRequest, 2);
  std::string bytes(100'000, 'x');
  EXPECT_EQ(end->send(1, bytes), 16'384u);
  EXPECT_EQ(end->send(2, bytes), 16'384u);
  end->feed(credit(2, 100'000));
  EXPECT_EQ(end->send(2, std::string(100'000 - 16'384, 'x')), 100'000u - 16'384);
  EXPECT_FALSE(end->session.has_quanta());  // nothing spins for the starved one
}

TEST(Flood, CreditByteByByteMovesABytesWorth) {
  auto end = SessionEnd::ready(Role::Controller, {}, SessionEnd::kMemory, 16'384);
  end->session.open(kRequest, 1);
  end->send(1, std::string(16'384, 'x'));
  end->written();
  end->session.want(1);
  for (std::uint64_t limit = 16'385; limit < 16'485; limit++) {
    end->feed(credit(1, limit));
    auto quantum = end->session.next_quantum();
    ASSERT_TRUE(quantum);
    EXPECT_EQ(quantum->bytes, 1u);
    end->session.reserve(*quantum, 1);
    end->session.fill_done(1, 1, true);
    EXPECT_FALSE(end->session.next_quantum());
  }
}

// --- Frames that do not fit ---

TEST(Flood, OversizedAndUndersizedFramesCloseTheLink) {
  struct Bounds {
    FrameType type;
    std::size_t shortest, longest;
  };
  for (auto [type, shortest, longest] : {Bounds{FrameType::Open, 22, 1'024},
                                         {FrameType::Accept, 0, 256},
                                         {FrameType::Credit, 8, 8},
                                         {FrameType::Reset, 10, 10},
                                         {FrameType::Stop, 2, 2}}) {
    unsigned number = static_cast<unsigned>(type);
    EXPECT_EQ(accepted()->feed(header(number, 0, longest + 1, 1)), "closed frame-error");
    EXPECT_EQ(accepted()->feed(header(number, 0, 65'535, 1)), "closed frame-error");
    if (shortest == 0) continue;
    EXPECT_EQ(accepted()->feed(header(number, 0, shortest - 1, 1)), "closed frame-error");
  }
  for (auto [type, shortest, longest] : {Bounds{FrameType::MaxStreams, 8, 8},
                                         {FrameType::Ping, 8, 8},
                                         {FrameType::GoAway, 8, 8},
                                         {FrameType::Ack, 8, 8},
                                         {FrameType::Close, 2, 258}}) {
    unsigned number = static_cast<unsigned>(type);
    EXPECT_EQ(accepted()->feed(header(number, 0, longest + 1, 0)), "closed frame-error");
    EXPECT_EQ(accepted()->feed(header(number, 0, shortest - 1, 0)), "closed frame-error");
  }
}

TEST(Flood, FramesForStreamsThatNeverWereCloseTheLink) {
  for (const Buffer& stray : {data(77, "x"), credit(77, 1), reset(77, 0, 0), stop(77)}) {
    auto end = accepted();
    EXPECT_EQ(taken(*end, stray), 0);
    EXPECT_EQ(end->closed(), "protocol-error: a frame for stream 77, which was never opened");
  }
}

TEST(Flood, DataAfterFinClosesTheLink) {
  auto end = accepted();
  end->feed(fin(1));
  EXPECT_EQ(taken(*end, data(1, "x")), 0);
  EXPECT_EQ(end->code(), LinkCode::ProtocolError);
}

TEST(Flood, DoubleFinClosesTheLink) {
  auto end = accepted();
  EXPECT_EQ(taken(*end, fin(1)), 1);
  EXPECT_EQ(end->code(), LinkCode::ProtocolError);
}

TEST(Flood, DoubleOpenClosesTheLink) {
  auto end = segment();
  EXPECT_EQ(taken(*end, open(1)), 1);
  EXPECT_EQ(end->code(), LinkCode::ProtocolError);
}

TEST(Flood, IdReuseClosesTheLink) {
  auto end = accepted();
  end->feed(fin(1));
  end->session.finish(1);
  end->session.release();
  EXPECT_EQ(taken(*end, open(1)), 0);
  EXPECT_EQ(end->code(), LinkCode::ProtocolError);
}

TEST(Flood, CreditOverflowClosesTheLink) {
  auto end = accepted();
  EXPECT_EQ(taken(*end, credit(1, ~std::uint64_t{0})), 0);
  EXPECT_EQ(end->code(), LinkCode::CreditError);
}

// --- A preface that never ends ---

TEST(Flood, APrefaceThatNeverEndsIsCutOff) {
  SessionEnd end(Role::Segment);
  Buffer start = preface(Role::Controller);
  Time begin = end.now;
  for (std::size_t i = 0; !end.session.is_closed(); i++) {
    if (i < 7) end.feed(Bytes(start).subspan(i, 1));
    end.now += milliseconds(900);
    end.session.on_time(end.now);
    ASSERT_LE(end.now - begin, seconds(6));
  }
  EXPECT_EQ(end.code(), LinkCode::HandshakeTimeout);
  EXPECT_TRUE(end.written().empty());
}

TEST(Flood, AHelloThatNeverEndsIsCutOff) {
  SessionEnd end(Role::Segment);
  Time begin = end.now;
  end.feed(preface(Role::Controller) + header(1, 0, 1'024, 0));
  while (!end.session.is_closed()) {
    end.feed(zeros(1));
    end.now += milliseconds(100);
    end.session.on_time(end.now);
    ASSERT_LE(end.now - begin, seconds(6));
  }
  EXPECT_EQ(end.code(), LinkCode::HandshakeTimeout);
}

}  // namespace
}  // namespace cloudbus
