// SPDX-License-Identifier: Apache-2.0
// Credit, windows and budgets in a session: doc/protocol.md, section 4.

#include <gtest/gtest.h>

#include "core/session/session_end.h"

namespace cloudbus {
namespace {

using namespace wire;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint32_t kWindow = 16 * 1024;
const OpenRequest kRequest{{}, 0, "echo", ""};

SessionLimits small_limits(std::uint64_t max_streams = 32'768) {
  SessionLimits limits;
  limits.initial_window = kWindow;
  limits.max_streams = max_streams;
  return limits;
}

// A segment with small windows, stream 1 open.
std::unique_ptr<SessionEnd> segment(std::uint64_t memory = SessionEnd::kMemory, std::uint64_t max_streams = 32'768) {
  auto end = SessionEnd::ready(Role::Segment, small_limits(max_streams), memory);
  end->feed(open(1));
  end->session.accept(1);
  end->written();
  return end;
}

std::unique_ptr<SessionEnd> controller(std::uint64_t window, std::uint64_t streams = 100) {
  auto end = SessionEnd::ready(Role::Controller, {}, SessionEnd::kMemory, window, streams);
  return end;
}

// The limit of the last CREDIT for stream 1 among the bytes, 0 if there is none.
std::uint64_t last_credit(const Buffer& bytes, StreamId stream = 1) {
  std::uint64_t limit = 0;
  for (std::size_t at = 0; at < bytes.size();) {
    FrameHeader header = decode_header(bytes.data() + at);
    if (header.type == FrameType::Credit && header.stream == stream)
      limit = load<std::uint64_t>(bytes.data() + at + kHeaderSize);
    at += kHeaderSize + header.length;
  }
  return limit;
}

TEST(Credit, AStreamStartsWithTheWindowOfTheHello) {
  auto end = controller(20'000);
  end->session.open(kRequest, 1);
  EXPECT_EQ(end->send(1, std::string(50'000, 'x')), 20'000u);
  EXPECT_FALSE(end->session.next_quantum());
}

TEST(Credit, MoreOfItLetsTheStreamGoOn) {
  auto end = controller(20'000);
  end->session.open(kRequest, 1);
  std::string bytes(50'000, 'x');
  std::size_t sent = end->send(1, bytes);
  EXPECT_EQ(end->feed(credit(1, 20'007)), "");
  auto quantum = end->session.next_quantum();
  ASSERT_TRUE(quantum);
  EXPECT_EQ(quantum->bytes, 7u);
  end->session.reserve(*quantum, 7);
  end->session.fill_done(1, 7, true);
  EXPECT_EQ(sent + 7, end->session.find(1)->sent);
}

TEST(Credit, OffsetsAreAbsoluteSoThatRepeatingIsHarmless) {
  auto end = controller(20'000);
  end->session.open(kRequest, 1);
  end->feed(credit(1, 30'000) + credit(1, 30'000) + credit(1, 30'000));
  EXPECT_EQ(end->session.find(1)->send_limit, 30'000u);
}

TEST(Credit, OneThatGoesBackIsHarmless) {
  auto end = controller(20'000);
  end->session.open(kRequest, 1);
  EXPECT_EQ(end->feed(credit(1, 30'000) + credit(1, 5) + credit(1, 0)), "");
  EXPECT_EQ(end->session.find(1)->send_limit, 30'000u);
}

TEST(Credit, AnOffsetOf2To63ClosesTheLink) {
  auto most = controller(20'000), beyond = controller(20'000), far = controller(20'000);
  for (auto* end : {&most, &beyond, &far}) (*end)->session.open(kRequest, 1);
  EXPECT_EQ(most->feed(credit(1, kMaxOffset)), "");
  EXPECT_EQ(beyond->feed(credit(1, kMaxOffset + 1)), "closed credit-error");
  EXPECT_EQ(far->feed(credit(1, ~std::uint64_t{0})), "closed credit-error");
}

TEST(Credit, AnOverflowClosesTheLinkEvenForAStreamThatIsOver) {
  auto end = segment();
  end->session.reset(1, StreamCode::ServerReset);
  EXPECT_EQ(end->feed(credit(1, kMaxOffset + 1)), "closed credit-error");
}

TEST(Credit, DataUpToItIsTakenAndOneByteMoreClosesTheLink) {
  auto end = segment();
  EXPECT_EQ(end->feed(data(1, zeros(kWindow))).size(), std::string("data 1 ").size() + kWindow);
  EXPECT_EQ(end->feed(data(1, "")), "");
  EXPECT_EQ(end->feed(data(1, "x")), "closed credit-error");
}

TEST(Credit, TheHeaderAloneDecidesSoThatNothingTooMuchIsKept) {
  auto end = segment();
  EXPECT_EQ(end->feed(header(4, 0, kWindow + 1, 1)), "closed credit-error");
}

TEST(Credit, IsGrantedWhenBytesAreHandedOnNotWhenTheyArrive) {
  auto end = segment();
  end->feed(data(1, zeros(kWindow)));
  EXPECT_TRUE(end->written().empty());
  end->session.consumed(1, kWindow, end->now);
  EXPECT_EQ(last_credit(end->written()), 2u * kWindow);
}

TEST(Credit, IsNotGrantedForADirectionThatIsDone) {
  auto finished = segment(), stopped = segment();
  finished->feed(data(1, zeros(kWindow), true));
  finished->session.consumed(1, kWindow, finished->now);
  EXPECT_TRUE(finished->written().empty());
  stopped->feed(data(1, zeros(kWindow)));
  stopped->session.stop(1, StreamCode::Cancelled);
  stopped->written();
  stopped->session.consumed(1, kWindow, stopped->now);
  EXPECT_TRUE(stopped->written().empty());
}

// --- Windows ---

// Takes as much data as there is credit for, each round trip, and hands it on at once.
void receive_fast(SessionEnd& end, Duration round_trip, int rounds) {
  for (int i = 0; i < rounds; i++) {
    const ReceiveWindow& window = end.session.find(1)->window;
    std::uint64_t left = window.limit() - window.received();
    while (left > 0) {
      std::uint64_t part = std::min<std::uint64_t>(left, kMaxPayload);
      end.feed(data(1, zeros(part)));
      end.session.consumed(1, part, end.now);
      left -= part;
    }
    end.now += round_trip;
    end.written();
  }
}

// A session that has measured its round trip.
std::unique_ptr<SessionEnd> measured(Duration round_trip, std::uint64_t memory = SessionEnd::kMemory) {
  auto end = std::make_unique<SessionEnd>(Role::Segment, small_limits(), memory);
  end->feed(end->peer_start());
  end->now += round_trip;
  end->feed(pong(1) + open(1));
  EXPECT_EQ(end->session.round_trip(), round_trip);
  end->session.accept(1);
  end->written();
  return end;
}

TEST(Credit, AWindowGrowsTo16MiBWhenItIsUsedUpEachRoundTrip) {
  auto end = measured(milliseconds(20));
  receive_fast(*end, milliseconds(20), 24);  // 10 doublings from 16 KiB
  EXPECT_EQ(end->session.find(1)->window.window(), ReceiveWindow::kMost);
}

TEST(Credit, AWindowStaysWhenItIsNotUsedUp) {
  auto end = measured(milliseconds(20));
  receive_fast(*end, milliseconds(50), 50);
  EXPECT_EQ(end->session.find(1)->window.window(), kWindow);
}

TEST(Credit, AWindowFallsBackAfterTenSecondsWithoutData) {
  auto end = measured(milliseconds(20));
  receive_fast(*end, milliseconds(20), 24);
  end->now += seconds(11);
  end->feed(data(1, "x"));
  end->session.consumed(1, 1, end->now);
  EXPECT_EQ(end->session.find(1)->window.window(), kWindow);
}

TEST(Credit, WindowsGrowWithinTheBudgetOfTheSession) {
  auto end = measured(milliseconds(20), 1024 * 1024);  // half of it is for one session
  receive_fast(*end, milliseconds(20), 24);
  std::uint32_t window = end->session.find(1)->window.window();
  EXPECT_EQ(window, 512u * 1024);
  EXPECT_LE(window - kWindow, 512u * 1024);
}

TEST(Credit, WindowsGrowWithinTheBudgetOfTheProcess) {
  auto end = measured(milliseconds(20), 1024 * 1024);
  ASSERT_TRUE(end->budget.reserve(1024 * 1024 - 3 * kWindow));
  receive_fast(*end, milliseconds(20), 24);
  EXPECT_EQ(end->session.find(1)->window.window(), 4 * kWindow);
  end->budget.release(1024 * 1024 - 3 * kWindow);
}

TEST(Credit, WhatAWindowReservedComesBackWithItsStream) {
  auto end = measured(milliseconds(20));
  receive_fast(*end, milliseconds(20), 24);
  EXPECT_FALSE(end->budget.reserve(SessionEnd::kMemory));
  end->session.reset(1, StreamCode::ServerReset);
  EXPECT_TRUE(end->budget.reserve(SessionEnd::kMemory));
}

TEST(Credit, WhatWindowsReservedComesBackWithTheSession) {
  SlabPool pool;
  Budget budget(1024 * 1024);
  Time now{std::chrono::hours(1)};
  {
    Session session(Role::Segment, Hello{}, small_limits(), pool, budget, now);
    Buffer bytes = preface(Role::Controller) + hello() + pong(1) + open(1) + repeat(data(1, zeros(5'000)), 3);
    Bytes input(bytes);
    while (auto event = session.receive(input, now))
      if (event->kind == EventKind::Data) session.consumed(1, event->data.size(), now);
    EXPECT_GT(session.find(1)->window.window(), kWindow);
  }
  EXPECT_TRUE(budget.reserve(1024 * 1024));
}

// --- Pressure ---

TEST(Credit, PastHalfOfTheBudgetOnly16KiBAheadAreGranted) {
  auto end = SessionEnd::ready(Role::Segment, {}, 1024 * 1024);  // windows of 256 KiB
  end->feed(open(1));
  end->budget.hold(600 * 1024);
  for (int i = 0; i < 4; i++) end->feed(data(1, zeros(64 * 1024 - 1)));
  end->session.consumed(1, 4 * (64 * 1024 - 1), end->now);
  EXPECT_EQ(last_credit(end->written()), 4u * (64 * 1024 - 1) + 16 * 1024);
}

TEST(Credit, AStreamMayBeShortOfMemoryWhileTheOthersAreNot) {
  auto end = SessionEnd::ready(Role::Segment, {}, 1024 * 1024);
  end->feed(open(1) + open(2));
  for (StreamId stream : {1, 2})
    for (int i = 0; i < 4; i++) end->feed(data(stream, zeros(64 * 1024 - 1)));
  end->session.consumed(1, 4 * (64 * 1024 - 1), end->now, true);
  EXPECT_EQ(last_credit(end->written()), 4u * (64 * 1024 - 1) + 16 * 1024);
  end->session.consumed(2, 4 * (64 * 1024 - 1), end->now, false);
  EXPECT_EQ(last_credit(end->written(), 2), 4u * (64 * 1024 - 1) + 256 * 1024);
}

// --- MAX_STREAMS ---

TEST(Credit, AControllerOpensNoMoreStreamsThanItMay) {
  auto end = controller(kWindow, 2);
  end->session.open(kRequest, 1);
  EXPECT_TRUE(end->session.can_open());
  end->session.open(kRequest, 2);
  EXPECT_FALSE(end->session.can_open());
}

TEST(Credit, TheEndOfAStreamAloneMakesNoPlaceForAnother) {
  auto end = controller(kWindow, 1);
  end->session.open(kRequest, 1);
  end->session.reset(1, StreamCode::ClientReset);
  EXPECT_FALSE(end->session.can_open());
  EXPECT_EQ(end->feed(max_streams(2)), "more-streams");
  EXPECT_TRUE(end->session.can_open());
}

TEST(Credit, AStreamBeyondMaxStreamsClosesTheLink) {
  auto end = segment(SessionEnd::kMemory, 2);
  EXPECT_EQ(end->feed(open(2) + open(3)), "opened 2 echo; closed protocol-error");
}

TEST(Credit, AResetStreamCountsUntilItsWorkHasEnded) {
  auto end = segment(SessionEnd::kMemory, 1);
  EXPECT_EQ(end->feed(reset(1, 0, 0)), "reset 1 cancelled");
  EXPECT_TRUE(end->written().empty());
  end->session.release();
  EXPECT_EQ(end->written(), max_streams(2));
  EXPECT_EQ(end->feed(open(2)), "opened 2 echo");
}

TEST(Credit, WithoutReleaseTheNextOpenClosesTheLink) {
  auto end = segment(SessionEnd::kMemory, 1);
  EXPECT_EQ(end->feed(reset(1, 0, 0) + open(2)), "reset 1 cancelled; closed protocol-error");
}

TEST(Credit, PlacesAreGivenBackAQuarterAtATime) {
  auto end = segment(SessionEnd::kMemory, 8);
  end->feed(open(2) + open(3));
  end->session.release();
  EXPECT_TRUE(end->written().empty());
  end->session.release();
  EXPECT_EQ(end->written(), max_streams(10));
}

TEST(Credit, MaxStreamsThatDoesNotAdvanceIsHarmless) {
  auto end = controller(kWindow, 5);
  EXPECT_EQ(end->feed(max_streams(5) + max_streams(0) + max_streams(7) + max_streams(6)), "more-streams");
  for (int i = 0; i < 7; i++) {
    EXPECT_TRUE(end->session.can_open());
    end->session.open(kRequest, 1);
  }
  EXPECT_FALSE(end->session.can_open());
}

TEST(Credit, MaxStreamsFromAControllerChangesNothing) {
  auto end = segment();
  EXPECT_EQ(end->feed(max_streams(1'000'000)), "");
  EXPECT_FALSE(end->session.can_open());
}

}  // namespace
}  // namespace cloudbus
