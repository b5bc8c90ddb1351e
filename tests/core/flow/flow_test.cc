// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/flow/flow.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace cloudbus {
namespace {

using Action = Flow::Action;
using Delivery = Flow::Delivery;

constexpr Flow::Facts kOpen{.is_open = true, .is_stream_over = true, .is_delivered = false};
constexpr Flow::Facts kDelivered{.is_open = true, .is_stream_over = true, .is_delivered = true};
constexpr Flow::Facts kLegsGoOn{.is_open = true, .is_stream_over = false, .is_delivered = true};
constexpr Flow::Facts kConnecting{.is_open = false, .is_stream_over = true, .is_delivered = true};

class FlowOfClient : public testing::Test {
 protected:
  void keep(std::string_view text, std::size_t skip = 0) {
    iovec part{const_cast<char*>(text.data()), text.size()};
    flow.keep(&part, 1, skip, budget);
  }
  std::string pending() const {
    iovec parts[8];
    int count = flow.gather(parts, 8);
    std::string text;
    for (int i = 0; i < count; i++) text.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
    return text;
  }
  void expect_nothing_follows(const Flow::Facts& facts = kDelivered) { EXPECT_EQ(flow.next(facts), Action::None); }

  Budget budget{1'000'000};
  Flow flow{Flow::Side::Client};
};

TEST(Flow, IsSmall) { EXPECT_LE(sizeof(Flow), 16u); }

// --- Reading -----------------------------------------------------------------------------------------------------

TEST_F(FlowOfClient, ASocketMayHaveBytesFromTheStart) {
  EXPECT_TRUE(flow.reads());
  EXPECT_TRUE(flow.is_readable());
  flow.wait_readable();
  EXPECT_FALSE(flow.is_readable());
  flow.on_readable();
  EXPECT_TRUE(flow.is_readable());
}

TEST_F(FlowOfClient, AReadThatTookAllThatItAskedForMayHaveLeftSome) {
  flow.on_read(100, 100);
  EXPECT_TRUE(flow.is_readable());
  EXPECT_FALSE(flow.is_at_end());
  EXPECT_FALSE(flow.was_emptied());
}

TEST_F(FlowOfClient, AShortReadHasEmptiedTheSocket) {
  flow.on_read(99, 100);
  EXPECT_FALSE(flow.is_readable());
  EXPECT_FALSE(flow.is_at_end());
  EXPECT_TRUE(flow.was_emptied());
  flow.look_again();
  EXPECT_FALSE(flow.was_emptied());
  EXPECT_TRUE(flow.is_readable()) << "or nobody would look";
}

TEST_F(FlowOfClient, AReadOfNothingNeedsNoSecondLook) {
  flow.on_read(99, 100);
  flow.on_read(0, 100);
  EXPECT_FALSE(flow.is_readable());
  EXPECT_FALSE(flow.was_emptied());
}

TEST_F(FlowOfClient, AnEndThatStandsBehindTheBytesIsReadAtOnce) {
  flow.expect_end();
  EXPECT_FALSE(flow.is_at_end());
  flow.on_read(100, 100);
  EXPECT_FALSE(flow.is_at_end()) << "there may be more bytes";
  EXPECT_TRUE(flow.is_readable());
  flow.on_read(40, 100);
  EXPECT_TRUE(flow.is_at_end());
  EXPECT_TRUE(flow.is_readable());
  EXPECT_FALSE(flow.was_emptied());
  flow.on_read(0, 100);
  EXPECT_FALSE(flow.is_at_end());
  EXPECT_FALSE(flow.is_readable());
}

TEST_F(FlowOfClient, TheSocketsEndFinishesTheStreamOnce) {
  EXPECT_FALSE(flow.is_half_closed());
  EXPECT_EQ(flow.on_read_end(), Action::FinishStream);
  EXPECT_FALSE(flow.reads());
  EXPECT_TRUE(flow.is_half_closed());
  EXPECT_TRUE(flow.has_near_ended_first());
  EXPECT_EQ(flow.on_read_end(), Action::None);
  expect_nothing_follows();
  EXPECT_EQ(flow.delivery(), Delivery::Write) << "the other direction goes on";
}

TEST_F(FlowOfClient, ASocketThatBreaksWhileItIsReadAbortsBoth) {
  EXPECT_EQ(flow.on_read_failed(), Action::Abort);
  EXPECT_EQ(flow.code(), StreamCode::ClientReset);
  EXPECT_FALSE(flow.reads());
  EXPECT_EQ(flow.on_read_failed(), Action::None);
  EXPECT_EQ(flow.on_read_end(), Action::None);
  expect_nothing_follows();
}

TEST(Flow, TheCodeSaysWhoseSocketBroke) {
  Flow server{Flow::Side::Server};
  EXPECT_EQ(server.on_read_failed(), Action::Abort);
  EXPECT_EQ(server.code(), StreamCode::ServerReset);
}

TEST_F(FlowOfClient, ErrorsAreLookedForWhereNoReadWouldMeetThem) {
  EXPECT_TRUE(flow.looks_for_errors()) << "reading waits for credit";
  flow.on_read(1, 100);
  EXPECT_FALSE(flow.looks_for_errors()) << "the next read tells";
  flow.on_read_end();
  EXPECT_TRUE(flow.looks_for_errors()) << "nothing is read any more";
}

TEST_F(FlowOfClient, AnErrorIsLookedForOnce) {
  flow.on_write_failed(false);
  EXPECT_FALSE(flow.looks_for_errors());
}

// --- STOP --------------------------------------------------------------------------------------------------------

TEST_F(FlowOfClient, AfterStopTheSocketIsReadNoMore) {
  EXPECT_EQ(flow.on_stop(StreamCode::ServerReset), Action::StopSocket);
  EXPECT_FALSE(flow.reads());
  EXPECT_TRUE(flow.is_half_closed());
  EXPECT_EQ(flow.code(), StreamCode::ServerReset);
  expect_nothing_follows();
  EXPECT_EQ(flow.delivery(), Delivery::Write);
}

TEST_F(FlowOfClient, StopAfterTheEndChangesNothing) {
  flow.on_read_end();
  EXPECT_EQ(flow.on_stop(StreamCode::ServerReset), Action::None);
  flow.on_finish();
  EXPECT_EQ(flow.next(kOpen), Action::Close);
}

TEST_F(FlowOfClient, TheFirstStopCounts) {
  flow.on_stop(StreamCode::ServerReset);
  EXPECT_EQ(flow.on_stop(StreamCode::Overload), Action::None);
  EXPECT_EQ(flow.code(), StreamCode::ServerReset);
}

// The peer is to see that not all of its bytes were taken.
TEST_F(FlowOfClient, WhatWasStoppedEndsWithAResetBehindFin) {
  flow.on_stop(StreamCode::ServerReset);
  keep("last words");
  flow.on_finish();
  expect_nothing_follows();
  flow.on_written(10);
  EXPECT_EQ(flow.next(kOpen), Action::FinishSocket);
  EXPECT_EQ(flow.next(kOpen), Action::AwaitDelivery);
  EXPECT_TRUE(flow.is_resetting());
  EXPECT_EQ(flow.next(kOpen), Action::None);
  EXPECT_EQ(flow.next(kDelivered), Action::Reset);
  EXPECT_EQ(flow.code(), StreamCode::ServerReset);
  expect_nothing_follows();
}

TEST_F(FlowOfClient, FinThenStopEndsWithAReset) {
  flow.on_finish();
  EXPECT_EQ(flow.next(kOpen), Action::FinishSocket);
  expect_nothing_follows();
  flow.on_stop(StreamCode::ServerReset);
  EXPECT_EQ(flow.next(kOpen), Action::AwaitDelivery);
}

// --- Writing -----------------------------------------------------------------------------------------------------

TEST_F(FlowOfClient, BytesAreWrittenAtOnceWhereNoneStandBeforeThem) {
  EXPECT_EQ(flow.delivery(), Delivery::Write);
  EXPECT_EQ(flow.on_written(10), 10u);
  EXPECT_EQ(flow.delivery(), Delivery::Write);
}

TEST_F(FlowOfClient, WhatTheSocketDidNotTakeIsKeptInItsOrder) {
  std::string one = "abc", two = "defgh";
  iovec parts[2] = {{one.data(), one.size()}, {two.data(), two.size()}};
  EXPECT_EQ(flow.on_written(4), 4u);
  flow.on_blocked();
  flow.keep(parts, 2, 4, budget);
  EXPECT_EQ(pending(), "efgh");
  EXPECT_EQ(flow.delivery(), Delivery::Keep);
  keep("ij");
  EXPECT_EQ(pending(), "efghij");
  EXPECT_EQ(flow.pending(), 6u);
  EXPECT_EQ(budget.buffered(), 6u);
}

TEST_F(FlowOfClient, BytesWaitWhileTheSocketIsBlocked) {
  flow.on_blocked();
  EXPECT_FALSE(flow.has_pending());
  EXPECT_EQ(flow.delivery(), Delivery::Keep);
  flow.on_writable();
  EXPECT_EQ(flow.delivery(), Delivery::Write);
}

TEST_F(FlowOfClient, BytesWaitBehindOthersThoughTheSocketIsWritable) {
  keep("first");
  EXPECT_EQ(flow.delivery(), Delivery::Keep);
}

TEST_F(FlowOfClient, CreditIsGivenForWhatTheSocketTook) {
  keep("0123456789");
  EXPECT_EQ(flow.on_written(3), 3u);
  EXPECT_EQ(pending(), "3456789");
  EXPECT_EQ(flow.on_written(7), 7u);
  EXPECT_FALSE(flow.has_pending());
  EXPECT_EQ(budget.buffered(), 0u);
}

TEST_F(FlowOfClient, FinGoesBehindTheLastByte) {
  keep("0123456789");
  flow.on_finish();
  EXPECT_TRUE(flow.is_half_closed());
  EXPECT_FALSE(flow.has_near_ended_first());
  EXPECT_TRUE(flow.is_ending());
  expect_nothing_follows();
  flow.on_written(9);
  expect_nothing_follows();
  flow.on_written(1);
  EXPECT_EQ(flow.next(kOpen), Action::FinishSocket);
  expect_nothing_follows();
  EXPECT_TRUE(flow.reads()) << "the other direction goes on";
}

TEST_F(FlowOfClient, NothingIsWrittenBehindFin) {
  flow.on_finish();
  EXPECT_EQ(flow.delivery(), Delivery::Discard);
  flow.next(kOpen);
  EXPECT_EQ(flow.delivery(), Delivery::Discard);
}

TEST_F(FlowOfClient, FinWaitsForTheConnection) {
  flow.on_finish();
  EXPECT_EQ(flow.next(kConnecting), Action::None);
  EXPECT_EQ(flow.next(kOpen), Action::FinishSocket);
}

TEST_F(FlowOfClient, FinGoesWithTheLastBytesWhereItFollows) {
  EXPECT_FALSE(flow.finish_follows());
  flow.expect_finish();
  EXPECT_TRUE(flow.finish_follows());
  flow.on_finish();
  EXPECT_FALSE(flow.finish_follows());
}

TEST_F(FlowOfClient, FinDoesNotGoWithTheLastBytesWhereAResetFollows) {
  flow.on_stop(StreamCode::ServerReset);
  flow.expect_finish();
  EXPECT_FALSE(flow.finish_follows());
}

TEST_F(FlowOfClient, FinDoesNotGoWithBytesThatAreDiscarded) {
  flow.on_write_failed(true);
  flow.expect_finish();
  EXPECT_FALSE(flow.finish_follows());
}

// --- A prefix ----------------------------------------------------------------------------------------------------

TEST_F(FlowOfClient, APrefixGoesFirstAndEarnsNoCredit) {
  flow.put_prefix(as_bytes("PROXY "), budget);
  EXPECT_EQ(flow.delivery(), Delivery::Keep);
  keep("hello");
  EXPECT_EQ(pending(), "PROXY hello");
  EXPECT_EQ(flow.on_written(4), 0u);
  EXPECT_EQ(flow.on_written(4), 2u);
  EXPECT_EQ(flow.on_written(3), 3u);
  EXPECT_EQ(flow.delivery(), Delivery::Write);
  EXPECT_EQ(flow.on_written(10), 10u);
}

TEST_F(FlowOfClient, APrefixThatIsDroppedEarnsNoCreditEither) {
  flow.put_prefix(as_bytes("PROXY "), budget);
  keep("hello");
  flow.on_written(2);
  EXPECT_EQ(flow.on_write_failed(false).credit, 5u);
  EXPECT_EQ(budget.buffered(), 0u);
}

TEST_F(FlowOfClient, FinWaitsForAPrefix) {
  flow.put_prefix(as_bytes("PROXY "), budget);
  flow.on_finish();
  expect_nothing_follows();
  EXPECT_EQ(flow.on_written(6), 0u);
  EXPECT_EQ(flow.next(kOpen), Action::FinishSocket);
}

TEST_F(FlowOfClient, APrefixMayComeInPieces) {
  flow.put_prefix(as_bytes("ab"), budget);
  flow.put_prefix(as_bytes("cd"), budget);
  keep("e");
  EXPECT_EQ(pending(), "abcde");
  EXPECT_EQ(flow.on_written(5), 1u);
}

// --- Both have ended ---------------------------------------------------------------------------------------------

TEST_F(FlowOfClient, BothEndsCloseIt) {
  flow.on_finish();
  EXPECT_EQ(flow.next(kOpen), Action::FinishSocket);
  EXPECT_EQ(flow.on_read_end(), Action::FinishStream);
  EXPECT_EQ(flow.next(kOpen), Action::Close);
  EXPECT_FALSE(flow.has_near_ended_first());
  EXPECT_FALSE(flow.is_ending());
  expect_nothing_follows();
}

TEST_F(FlowOfClient, ClosingSaysTheEndWhereReadingEndedFirst) {
  flow.on_read_end();
  keep("bye");
  flow.on_finish();
  EXPECT_TRUE(flow.has_near_ended_first());
  expect_nothing_follows();
  flow.on_written(3);
  EXPECT_EQ(flow.next(kOpen), Action::Close);
}

TEST_F(FlowOfClient, LegsThatAreStillSentToKeepItOpen) {
  flow.on_read_end();
  flow.on_finish();
  EXPECT_EQ(flow.next(kLegsGoOn), Action::FinishSocket) << "the client need not wait for them";
  expect_nothing_follows(kLegsGoOn);
  EXPECT_EQ(flow.next(kOpen), Action::Close);
}

// --- RESET of the stream -----------------------------------------------------------------------------------------

TEST_F(FlowOfClient, AResetWaitsUntilWhatCameBeforeItIsDelivered) {
  keep("0123456789");
  flow.on_reset(StreamCode::ServerReset);
  EXPECT_FALSE(flow.reads());
  EXPECT_TRUE(flow.is_resetting());
  EXPECT_TRUE(flow.is_half_closed());
  expect_nothing_follows(kDelivered);
  flow.on_written(9);
  expect_nothing_follows(kDelivered);
  EXPECT_EQ(flow.on_written(1), 1u);
  EXPECT_EQ(flow.next(kOpen), Action::None) << "the peer does not have it all";
  EXPECT_EQ(flow.next(kDelivered), Action::Reset);
  EXPECT_EQ(flow.code(), StreamCode::ServerReset);
  expect_nothing_follows();
}

TEST_F(FlowOfClient, AResetWaitsForNothingBeforeBothSidesAreConnected) {
  keep("0123456789");
  flow.on_reset(StreamCode::ConnectFailed);
  EXPECT_EQ(flow.next(kConnecting), Action::Reset);
}

TEST_F(FlowOfClient, AResetWaitsForNothingWhereTheSocketBroke) {
  flow.on_write_failed(false);
  flow.on_reset(StreamCode::LinkLost);
  EXPECT_FALSE(flow.reads());
  EXPECT_EQ(flow.next(kOpen), Action::Reset);
  EXPECT_EQ(flow.code(), StreamCode::LinkLost);
}

TEST_F(FlowOfClient, AResetDoesNotWaitForOtherLegs) {
  flow.on_reset(StreamCode::LinkLost);
  EXPECT_EQ(flow.next(kLegsGoOn), Action::Reset);
}

TEST_F(FlowOfClient, AResetAfterFinStillWaitsForDelivery) {
  flow.on_finish();
  EXPECT_EQ(flow.next(kOpen), Action::FinishSocket);
  flow.on_reset(StreamCode::IdleTimeout);
  EXPECT_EQ(flow.next(kOpen), Action::None);
  EXPECT_EQ(flow.next(kDelivered), Action::Reset);
}

TEST_F(FlowOfClient, ASocketThatBreaksBeforeItsResetIsResetAtOnce) {
  keep("0123456789");
  flow.on_reset(StreamCode::IdleTimeout);
  auto [credit, action] = flow.on_write_failed(false);
  EXPECT_EQ(credit, 10u);
  EXPECT_EQ(action, Action::Reset);
  EXPECT_EQ(flow.code(), StreamCode::IdleTimeout) << "not what the socket says";
  expect_nothing_follows();
}

TEST_F(FlowOfClient, BytesBehindAResetAreDiscarded) {
  flow.on_reset(StreamCode::IdleTimeout);
  EXPECT_EQ(flow.delivery(), Delivery::Discard);
  flow.on_finish();
  EXPECT_TRUE(flow.is_resetting());
}

TEST_F(FlowOfClient, StopBehindAResetChangesNothing) {
  flow.on_reset(StreamCode::IdleTimeout);
  EXPECT_EQ(flow.on_stop(StreamCode::Overload), Action::None);
  EXPECT_EQ(flow.code(), StreamCode::IdleTimeout);
}

TEST_F(FlowOfClient, AResetAfterTheEndIsTooLate) {
  flow.abort(StreamCode::IdleTimeout);
  flow.on_reset(StreamCode::LinkLost);
  EXPECT_FALSE(flow.is_resetting());
  EXPECT_EQ(flow.code(), StreamCode::IdleTimeout);
  expect_nothing_follows();
}

// --- The socket breaks -------------------------------------------------------------------------------------------

TEST_F(FlowOfClient, ABrokenSocketIsReadToItsEndThenTheStreamIsReset) {
  keep("0123456789");
  auto [credit, action] = flow.on_write_failed(false);
  EXPECT_EQ(credit, 10u);
  EXPECT_EQ(action, Action::Want);
  EXPECT_TRUE(flow.reads());
  EXPECT_TRUE(flow.is_half_closed());
  EXPECT_FALSE(flow.has_pending());
  EXPECT_EQ(flow.delivery(), Delivery::Discard);
  flow.on_read(5, 100);
  expect_nothing_follows();
  EXPECT_EQ(flow.on_read_end(), Action::Abort) << "no clean end";
  EXPECT_EQ(flow.code(), StreamCode::ClientReset);
  expect_nothing_follows();
}

TEST_F(FlowOfClient, FinForABrokenSocketEndsNothing) {
  flow.on_write_failed(false);
  flow.on_finish();
  expect_nothing_follows();
  EXPECT_TRUE(flow.reads());
}

TEST_F(FlowOfClient, ABrokenSocketThatNobodyReadsAborts) {
  flow.on_write_failed(false);
  EXPECT_EQ(flow.on_stop(StreamCode::ServerReset), Action::Abort);
  EXPECT_EQ(flow.code(), StreamCode::ClientReset);
}

TEST_F(FlowOfClient, ASocketThatBreaksWhenAllWasReadAborts) {
  flow.on_read_end();
  keep("0123456789");
  auto [credit, action] = flow.on_write_failed(false);
  EXPECT_EQ(credit, 10u);
  EXPECT_EQ(action, Action::Abort);
  EXPECT_EQ(flow.code(), StreamCode::ClientReset);
}

TEST_F(FlowOfClient, ASocketThatBreaksAfterStopAborts) {
  flow.on_stop(StreamCode::Overload);
  EXPECT_EQ(flow.on_write_failed(true).action, Action::Abort);
  EXPECT_EQ(flow.code(), StreamCode::ClientReset);
}

TEST_F(FlowOfClient, ASocketThatBreaksAfterFinIsReadToItsEnd) {
  flow.on_finish();
  EXPECT_EQ(flow.next(kOpen), Action::FinishSocket);
  EXPECT_EQ(flow.on_write_failed(false).action, Action::Want);
  EXPECT_EQ(flow.on_read_end(), Action::Abort);
}

TEST_F(FlowOfClient, AFailureAfterTheEndIsTooLate) {
  keep("0123456789");
  flow.abort(StreamCode::IdleTimeout);
  EXPECT_EQ(flow.on_write_failed(false).action, Action::None);
  EXPECT_EQ(flow.code(), StreamCode::IdleTimeout);
}

// --- The socket's peer reads no more -----------------------------------------------------------------------------

TEST_F(FlowOfClient, ASocketThatTakesNoMoreStopsTheStreamAndIsReadOn) {
  keep("0123456789");
  auto [credit, action] = flow.on_write_failed(true);
  EXPECT_EQ(credit, 10u);
  EXPECT_EQ(action, Action::StopStream);
  EXPECT_EQ(flow.code(), StreamCode::ClientReset);
  EXPECT_TRUE(flow.reads());
  EXPECT_FALSE(flow.is_half_closed());
  EXPECT_EQ(flow.delivery(), Delivery::Discard);
  expect_nothing_follows();
  EXPECT_EQ(flow.on_read_end(), Action::FinishStream);
  EXPECT_EQ(flow.next(kOpen), Action::AwaitDelivery);
  EXPECT_EQ(flow.next(kDelivered), Action::Reset);
}

TEST_F(FlowOfClient, ASocketThatTakesNoMoreMayStillBreak) {
  flow.on_write_failed(true);
  EXPECT_TRUE(flow.looks_for_errors());
  EXPECT_EQ(flow.on_write_failed(false).action, Action::Want);
  EXPECT_EQ(flow.on_read_end(), Action::Abort);
}

TEST_F(FlowOfClient, BothStoppedEndsWithAReset) {
  flow.on_write_failed(true);
  flow.on_stop(StreamCode::ServerReset);
  EXPECT_EQ(flow.next(kDelivered), Action::AwaitDelivery);
  EXPECT_EQ(flow.next(kDelivered), Action::Reset);
}

TEST_F(FlowOfClient, FinBehindWhatTheSocketDoesNotTakeIsNoCleanEnd) {
  keep("0123456789");
  flow.on_finish();
  EXPECT_EQ(flow.on_write_failed(true).action, Action::StopStream);
  flow.on_read_end();
  EXPECT_EQ(flow.next(kDelivered), Action::AwaitDelivery);
}

// --- Ended from outside ------------------------------------------------------------------------------------------

TEST_F(FlowOfClient, AnAbortEndsBothOnce) {
  EXPECT_EQ(flow.abort(StreamCode::IdleTimeout), Action::Abort);
  EXPECT_EQ(flow.code(), StreamCode::IdleTimeout);
  EXPECT_EQ(flow.abort(StreamCode::LinkLost), Action::None);
  EXPECT_EQ(flow.code(), StreamCode::IdleTimeout);
  EXPECT_FALSE(flow.reads());
  EXPECT_EQ(flow.delivery(), Delivery::Discard);
}

TEST_F(FlowOfClient, NothingFollowsWhatWasClosed) {
  flow.on_read_end();
  keep("0123456789");
  flow.on_finish();
  flow.close();
  EXPECT_FALSE(flow.is_ending());
  EXPECT_FALSE(flow.has_pending());
  EXPECT_EQ(budget.buffered(), 0u);
  expect_nothing_follows();
  EXPECT_EQ(flow.abort(StreamCode::IdleTimeout), Action::None);
}

// --- Idle --------------------------------------------------------------------------------------------------------

TEST_F(FlowOfClient, WhoHasSentOrEndedLastIsKnown) {
  EXPECT_EQ(flow.last(), Flow::Side::Client);
  flow.on_written(5);
  EXPECT_EQ(flow.last(), Flow::Side::Server);
  flow.on_read(0, 100);
  EXPECT_EQ(flow.last(), Flow::Side::Server) << "nothing was read";
  flow.on_read(7, 100);
  EXPECT_EQ(flow.last(), Flow::Side::Client);
  flow.on_written(5);
  flow.on_read_end();
  EXPECT_EQ(flow.last(), Flow::Side::Client);
  flow.on_finish();
  EXPECT_EQ(flow.last(), Flow::Side::Server);
}

TEST(Flow, OfAServerTheServerIsNear) {
  Flow flow(Flow::Side::Server);
  flow.on_read(1, 100);
  EXPECT_EQ(flow.last(), Flow::Side::Server);
  flow.on_written(1);
  EXPECT_EQ(flow.last(), Flow::Side::Client);
}

TEST_F(FlowOfClient, ItIsQuietWhenNothingWaitsToBeReadOrWritten) {
  EXPECT_FALSE(flow.is_quiet()) << "there may be bytes from the start";
  flow.on_read(7, 100);
  EXPECT_TRUE(flow.is_quiet());
  flow.on_read(100, 100);
  EXPECT_FALSE(flow.is_quiet());
  flow.on_read(0, 100);
  keep("answer");
  EXPECT_FALSE(flow.is_quiet());
  flow.on_written(6);
  EXPECT_TRUE(flow.is_quiet());
}

TEST_F(FlowOfClient, AHalfClosedOneMayBeQuietAndAnEndingOneIsNot) {
  flow.on_read(7, 100);
  flow.on_finish();
  EXPECT_FALSE(flow.is_quiet());
  EXPECT_EQ(flow.next(kOpen), Action::FinishSocket);
  EXPECT_TRUE(flow.is_quiet());
  flow.on_reset(StreamCode::Cancelled);
  EXPECT_FALSE(flow.is_quiet());
}

}  // namespace
}  // namespace cloudbus
