// SPDX-License-Identifier: Apache-2.0
// Pings, the round trip and silence: doc/protocol.md, section 6.

#include <gtest/gtest.h>

#include "core/session/session_end.h"

namespace cloudbus {
namespace {

using namespace wire;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Lets a session run without a word from its peer; returns how long it lives, and what it writes.
std::pair<Duration, Buffer> run_in_silence(SessionEnd& end) {
  Time start = end.now;
  Buffer out;
  for (int i = 0; i < 100 && !end.session.is_closed(); i++) {
    end.now = end.session.next_deadline();
    end.session.on_time(end.now);
    out += end.written();
  }
  EXPECT_TRUE(end.session.is_closed());
  return {end.now - start, out};
}

TEST(Ping, ComesBackAsAReply) {
  auto end = SessionEnd::ready(Role::Segment);
  EXPECT_EQ(end->feed(ping(0x0102030405060708)), "");
  EXPECT_EQ(end->written(), pong(0x0102030405060708));
}

TEST(Ping, IsSentAfterFiveSecondsOfSilence) {
  auto end = SessionEnd::ready(Role::Segment);
  EXPECT_EQ(end->session.next_deadline(), end->now + seconds(5));
  end->session.on_time(end->now + seconds(5) - Duration(1));
  EXPECT_TRUE(end->written().empty());
  end->session.on_time(end->now + seconds(5));
  EXPECT_EQ(end->written(), ping(2));
}

TEST(Ping, WithoutAnAnswerTheLinkIsClosedFiveSecondsLater) {
  auto end = SessionEnd::ready(Role::Controller);
  auto [lived, out] = run_in_silence(*end);
  EXPECT_EQ(lived, seconds(10));
  EXPECT_EQ(end->code(), LinkCode::PingTimeout);
  EXPECT_EQ(out, ping(2) + close(9, end->session.closed().error.reason));
}

TEST(Ping, AnyByteProvesLife) {
  auto end = SessionEnd::ready(Role::Segment);
  Buffer bytes = open(1);
  for (std::size_t i = 0; i < bytes.size(); i++) {
    end->now += milliseconds(4'900);
    end->feed(Bytes(bytes).subspan(i, 1));
    end->session.on_time(end->now + milliseconds(50));
    EXPECT_FALSE(end->session.is_closed());
  }
  EXPECT_TRUE(end->written().empty());
}

// --- An answer that somebody waits for ---

constexpr Duration kPatience = milliseconds(250);

// Writes what waits, as the kernel took it at this time; returns it.
Buffer write(SessionEnd& end) {
  Buffer out = end.written();
  end.session.on_written(end.now);
  return out;
}

TEST(Ping, AsksSoonForAnAnswerThatDoesNotCome) {
  auto end = SessionEnd::ready(Role::Controller);
  end->now += seconds(1);
  end->session.open({{}, 0, "echo", ""}, 11);
  write(*end);
  EXPECT_EQ(end->session.next_deadline(), end->now + kPatience);
  end->now += kPatience;
  end->session.on_time(end->now);
  EXPECT_EQ(write(*end), ping(2));
  EXPECT_EQ(end->session.silent_since(), end->now);
}

TEST(Ping, AsksNothingWhereAllIsAnswered) {
  auto end = SessionEnd::ready(Role::Controller);
  end->session.open({{}, 0, "echo", ""}, 11);
  write(*end);
  end->feed(accept(1));
  EXPECT_EQ(end->session.next_deadline(), end->now + seconds(5));
}

TEST(Ping, AsksAgainWhereTheAnswerToTheLastPingWasLostBehindBytesThatCame) {
  auto end = SessionEnd::ready(Role::Controller);
  end->session.open({{}, 0, "echo", ""}, 11);
  write(*end);
  end->now += kPatience;
  end->session.on_time(end->now);
  write(*end);  // a ping, whose answer is lost
  end->now += milliseconds(1);
  end->feed(accept(1));
  end->send(1, "hello");
  write(*end);
  end->now += kPatience;
  end->session.on_time(end->now);
  EXPECT_EQ(write(*end), ping(3));
}

TEST(Ping, AByteAfterThePingKeepsTheLink) {
  auto end = SessionEnd::ready(Role::Segment);
  end->now += seconds(5);
  end->session.on_time(end->now);
  end->now += seconds(4);
  end->feed(open(1));
  end->now += seconds(1);
  end->session.on_time(end->now);
  EXPECT_FALSE(end->session.is_closed());
}

TEST(Ping, AnEmptyReadProvesNothing) {
  auto end = SessionEnd::ready(Role::Segment);
  end->now += seconds(5);
  end->feed({});
  end->session.on_time(end->now);
  EXPECT_EQ(end->written(), ping(2));
}

TEST(Ping, APeerThatAnswersIsPingedForever) {
  auto end = SessionEnd::ready(Role::Segment);
  for (std::uint64_t value = 2; value < 1'000; value++) {
    end->now = end->session.next_deadline();
    end->session.on_time(end->now);
    ASSERT_EQ(end->written(), ping(value));
    end->now += milliseconds(100);
    ASSERT_EQ(end->feed(pong(value)), "");
  }
}

TEST(Ping, IsNotRepeatedByAnotherLookAtTheTime) {
  auto end = SessionEnd::ready(Role::Segment);
  end->now += seconds(5);
  for (int i = 0; i < 10; i++) end->session.on_time(end->now + milliseconds(i));
  EXPECT_EQ(end->written(), ping(2));
}

// The pings that measure the round trip do not shorten the time that a peer has.
TEST(Ping, APeerThatFallsSilentAfterAMeasuringPingHasTenSecondsToo) {
  auto end = SessionEnd::ready(Role::Segment);
  end->now += seconds(2);
  end->feed(open(1) + repeat(data(1, zeros(60'000)), 4));
  end->session.consumed(1, 240'000, end->now);  // CREDIT, and a ping with it
  Buffer out = end->written();
  ASSERT_TRUE(out.size() > 20 && Buffer(out.end() - 20, out.end()) == ping(2));
  auto [lived, more] = run_in_silence(*end);
  EXPECT_EQ(lived, seconds(10));
  EXPECT_EQ(end->code(), LinkCode::PingTimeout);
}

TEST(Ping, APeerThatFallsSilentRightAfterItsHelloHasTenSecondsToo) {
  SessionEnd end(Role::Segment);
  end.feed(end.peer_start());
  EXPECT_EQ(run_in_silence(end).first, seconds(10));
}

// What an owner asks for, to know soon whether somebody is there.

TEST(Check, PingsAtOnceAndTellsSinceWhenTheAnswerIsAwaited) {
  auto end = SessionEnd::ready(Role::Controller);
  EXPECT_EQ(end->session.silent_since(), Time::max());
  end->now += seconds(1);
  end->session.check(end->now);
  EXPECT_EQ(end->written(), ping(2));
  EXPECT_EQ(end->session.silent_since(), end->now);
  end->now += milliseconds(1);
  end->feed(pong(2));
  EXPECT_EQ(end->session.silent_since(), Time::max());
}

TEST(Check, IsNotRepeatedWhileTheAnswerIsAwaited) {
  auto end = SessionEnd::ready(Role::Controller);
  end->now += seconds(1);
  end->session.check(end->now);
  end->session.check(end->now + seconds(1));
  EXPECT_EQ(end->written(), ping(2));
}

// Asks for a check 30 ms after a ping that was answered, where they are to be 100 ms apart; returns when that ping was.
Time check_too_soon(SessionEnd& end) {
  end.now += seconds(1);
  end.session.check(end.now);
  end.feed(pong(2));
  end.written();
  Time first = end.now;
  end.now += milliseconds(30);
  end.session.check(end.now, milliseconds(100));
  return first;
}

TEST(Check, TooSoonAfterAPingItComesLater) {
  auto end = SessionEnd::ready(Role::Controller);
  Time first = check_too_soon(*end);
  EXPECT_TRUE(end->written().empty());
  EXPECT_EQ(end->session.next_deadline(), first + milliseconds(100));
  end->session.on_time(first + milliseconds(100));
  EXPECT_EQ(end->written(), ping(3));
}

TEST(Check, ThatComesLaterIsLeftOutWhenSomethingCameMeanwhile) {
  auto end = SessionEnd::ready(Role::Controller);
  Time first = check_too_soon(*end);
  end->now += milliseconds(30);
  end->feed(ping(9));
  end->written();
  end->session.on_time(first + milliseconds(100));
  EXPECT_TRUE(end->written().empty());
  EXPECT_EQ(end->session.next_deadline(), end->now + seconds(5));
}

TEST(Check, DoesNotShortenTheTimeThatASilentPeerHas) {
  auto end = SessionEnd::ready(Role::Controller);
  end->session.check(end->now, milliseconds(100));
  auto [lived, out] = run_in_silence(*end);
  EXPECT_EQ(lived, seconds(10));
}

TEST(RoundTrip, IsUnknownAtFirstAndMeasuredByTheFirstPing) {
  SessionEnd end(Role::Controller);
  end.feed(end.peer_start());
  EXPECT_EQ(end.session.round_trip(), Duration(0));
  end.now += milliseconds(30);
  end.feed(pong(1));
  EXPECT_EQ(end.session.round_trip(), milliseconds(30));
}

// Pings once a second while data flows, each answered after `takes`.
void measure(SessionEnd& end, std::uint64_t value, Duration takes) {
  end.now = end.session.next_deadline();
  end.session.on_time(end.now);
  EXPECT_EQ(end.written(), ping(value));
  end.now += takes;
  end.feed(pong(value));
}

TEST(RoundTrip, TheSmallestCounts) {
  SessionEnd end(Role::Controller);
  end.feed(end.peer_start());
  end.written();
  end.now += milliseconds(30);
  end.feed(pong(1));
  measure(end, 2, milliseconds(900));
  EXPECT_EQ(end.session.round_trip(), milliseconds(30));
  measure(end, 3, milliseconds(20));
  EXPECT_EQ(end.session.round_trip(), milliseconds(20));
}

TEST(RoundTrip, AnOldOneIsForgottenAfterTenSeconds) {
  SessionEnd end(Role::Controller);
  end.feed(end.peer_start());
  end.written();
  end.now += milliseconds(30);
  end.feed(pong(1));
  measure(end, 2, milliseconds(200));
  EXPECT_EQ(end.session.round_trip(), milliseconds(30));
  measure(end, 3, milliseconds(200));
  EXPECT_EQ(end.session.round_trip(), milliseconds(200));
}

TEST(RoundTrip, WhenTheSmallestIsTooOldTheNextSmallestCounts) {
  SessionEnd end(Role::Controller);
  end.feed(end.peer_start());
  end.written();
  end.now += milliseconds(30);
  end.feed(pong(1));
  measure(end, 2, milliseconds(50));
  measure(end, 3, milliseconds(900));  // 50 ms were measured 6 s ago, 30 ms 11 s ago
  EXPECT_EQ(end.session.round_trip(), milliseconds(50));
}

TEST(RoundTrip, AnswersToNoPingMeasureNothing) {
  SessionEnd end(Role::Controller);
  end.feed(end.peer_start());
  end.now += milliseconds(1);
  end.feed(pong(2) + pong(0) + pong(77));
  EXPECT_EQ(end.session.round_trip(), Duration(0));
  end.now += milliseconds(29);
  end.feed(pong(1));
  end.now += milliseconds(1);
  end.feed(pong(1));  // a second one
  EXPECT_EQ(end.session.round_trip(), milliseconds(30));
}

TEST(RoundTrip, IsMeasuredWhileDataFlowsOnceASecond) {
  auto end = SessionEnd::ready(Role::Segment);
  end->feed(open(1));
  int pings = 0;
  for (int i = 0; i < 400; i++) {
    end->now += milliseconds(10);
    std::uint64_t received = end->session.find(1)->window.received();
    end->feed(data(1, zeros(60'000)));
    end->session.consumed(1, 60'000, end->now);
    ASSERT_EQ(end->session.find(1)->window.received(), received + 60'000);
    Buffer out = end->written();
    for (std::size_t at = 0; at < out.size();) {
      FrameHeader header = decode_header(out.data() + at);
      if (header.type == FrameType::Ping) {
        pings++;
        end->feed(pong(load<std::uint64_t>(out.data() + at + kHeaderSize)));
      }
      at += kHeaderSize + header.length;
    }
  }
  EXPECT_GE(pings, 2);
  EXPECT_LE(pings, 4);
}

}  // namespace
}  // namespace cloudbus
