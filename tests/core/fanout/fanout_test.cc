// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/fanout/fanout.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/fanout/fanout_case.h"

namespace cloudbus {
namespace {

using Answer = Fanout::Answer;

constexpr FanoutLimits kAll{};
constexpr std::uint64_t kLag = 64 * 1024;

FanoutLimits with_quorum(std::uint32_t quorum) { return {.quorum = quorum}; }
FanoutLimits with_lag(std::uint64_t lag) { return {.lag = lag}; }

std::vector<ServerIndex> servers_of(const Fanout& fanout) {
  std::vector<ServerIndex> servers;
  for (LegId leg = 0; leg < fanout.leg_count(); leg++) servers.push_back(fanout.leg(leg).server);
  return servers;
}

// --- Which legs begin ---

TEST(Fanout, EveryServerGetsALegInTheOrderGiven) {
  FanoutCase a(Mode::HalfDuplex, kAll, {2, 0, 1});
  EXPECT_EQ(a.commands(), "open 0; open 1; open 2");
  EXPECT_EQ(servers_of(a.fanout), (std::vector<ServerIndex>{2, 0, 1}));
}

TEST(Fanout, WithAFanoutTheFirstOfTheOrderGetLegs) {
  FanoutCase a(Mode::Publish, {.legs = 2}, {3, 1, 0, 2});
  EXPECT_EQ(a.commands(), "open 0; open 1");
  EXPECT_EQ(servers_of(a.fanout), (std::vector<ServerIndex>{3, 1}));
}

TEST(Fanout, AFanoutBeyondTheServersIsAllOfThem) {
  EXPECT_EQ(FanoutCase(Mode::FullDuplex, {.legs = 5}, 2).commands(), "open 0; open 1");
}

TEST(Fanout, BalanceOpensOneLeg) {
  FanoutCase a(Mode::Balance, kAll, {2, 0, 1});
  EXPECT_EQ(a.commands(), "open 0");
  EXPECT_EQ(a.fanout.leg(0).server, 2u);
}

TEST(Fanout, ALegIsSentToBeforeItIsAccepted) {
  FanoutCase a(Mode::HalfDuplex, kAll, 2);
  a.go_on().open({0});
  EXPECT_EQ(a.commands(), "want 0");
  EXPECT_GT(a.fanout.may_read(0), 0u);
  a.read(0, "early");
  EXPECT_EQ(a.send(0), "early");
}

TEST(Fanout, TheFirstLegThatIsAcceptedOpensTheConversation) {
  FanoutCase a(Mode::FullDuplex, kAll, 3);
  a.open({0, 1, 2});
  EXPECT_FALSE(a.fanout.is_open());
  a.fanout.on_accepted(1);
  EXPECT_TRUE(a.fanout.is_open());
  EXPECT_TRUE(a.fanout.is_opening());
  a.fanout.on_accepted(0);
  a.fanout.on_accepted(2);
  EXPECT_FALSE(a.fanout.is_opening());
}

// --- The client's bytes ---

TEST(Fanout, EveryLegSendsAllOfTheClientsBytes) {
  FanoutCase a(Mode::FullDuplex, kAll, 3);
  a.accept({0, 1, 2}).go_on();
  a.read(0, "one ");
  EXPECT_EQ(a.commands(), "want 1; want 2");
  EXPECT_EQ(a.send(0), "one ");
  EXPECT_EQ(a.send(1, 2), "on");
  a.read(0, "two");
  EXPECT_EQ(a.send(2), "one two");
  EXPECT_EQ(a.send(1), "e two");
  EXPECT_EQ(a.send(0), "two");
}

TEST(Fanout, OnlyALegThatHasSentAllMayRead) {
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0, 1});
  EXPECT_TRUE(a.fanout.may_read(0) && a.fanout.may_read(1));
  a.read(0, "more");
  EXPECT_FALSE(a.fanout.may_read(0) || a.fanout.may_read(1));
  a.send(1);
  EXPECT_GT(a.fanout.may_read(1), 0u);
  EXPECT_EQ(a.fanout.may_read(0), 0u);
  EXPECT_EQ(a.fanout.front(), 4u);
}

TEST(Fanout, WhatEveryLegHasSentIsForgotten) {
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0, 1});
  a.read(0, "12345");
  a.send(0);
  EXPECT_EQ(a.fanout.kept(), 5u);
  EXPECT_EQ(a.budget.buffered(), 5u);
  a.send(1, 3);
  EXPECT_EQ(a.fanout.kept(), 2u);
  a.send(1);
  EXPECT_EQ(a.fanout.kept(), 0u);
  EXPECT_EQ(a.budget.buffered(), 0u);
}

TEST(Fanout, WhatAReplacementWouldNeedIsKept) {
  FanoutCase a(Mode::Balance, kAll, 2);
  a.open({0});
  a.read(0, "first");
  EXPECT_EQ(a.send(0), "first");
  EXPECT_EQ(a.fanout.kept(), 5u);
  a.fanout.on_accepted(0);
  EXPECT_EQ(a.fanout.kept(), 0u);
}

TEST(Fanout, ALegThatBeginsAgainIsSentEverything) {
  FanoutCase a(Mode::Balance, kAll, 1);
  a.open({0});
  a.read(0, "first");
  EXPECT_EQ(a.send(0), "first");
  EXPECT_TRUE(a.fanout.begin_again(0, StreamCode::ConnectFailed));
  EXPECT_EQ(a.fanout.leg(0).state, LegState::Waiting);
  a.open({0});
  EXPECT_EQ(a.send(0), "first");
  a.fanout.on_accepted(0);
  EXPECT_EQ(a.fanout.kept(), 0u);
  EXPECT_FALSE(a.fanout.begin_again(0, StreamCode::ConnectFailed)) << "it was accepted";
}

TEST(Fanout, ALegWhoseLinkWasLostDoesNotBeginAgainOnceItWasSentBytes) {
  FanoutCase a(Mode::Balance, kAll, 1);
  a.open({0});
  a.read(0, "first");
  a.send(0);
  EXPECT_FALSE(a.fanout.begin_again(0, StreamCode::LinkLost));
}

TEST(Fanout, NoMoreThanTheLagLimitIsKeptForAReplacement) {
  FanoutCase a(Mode::Balance, with_lag(kLag), 2);
  a.open({0});
  a.read(0, std::string(kLag, 'x'));
  a.send(0);
  EXPECT_EQ(a.fanout.kept(), kLag);
  a.read(0, "x");
  a.send(0);
  EXPECT_EQ(a.fanout.kept(), 0u);
  a.go_on();
  a.fanout.on_failed(0, StreamCode::ConnectFailed);
  EXPECT_EQ(a.commands(), "");
  EXPECT_EQ(a.fanout.answer(), Answer::Broken);
}

TEST(Fanout, ALegThatIsGoneHoldsNothingBack) {
  FanoutCase a(Mode::FullDuplex, kAll, 3);
  a.accept({0, 1, 2});
  a.read(0, "12345");
  a.send(0);
  a.fanout.on_failed(1, StreamCode::ServerReset);
  EXPECT_EQ(a.fanout.kept(), 5u);
  a.fanout.on_stopped(2, StreamCode::ServerReset);
  EXPECT_EQ(a.fanout.kept(), 0u);
}

TEST(Fanout, TheOnlyLegThereWillBeIsSentToDirectly) {
  FanoutCase a(Mode::Balance, kAll, 2);
  a.open({0});
  EXPECT_FALSE(a.fanout.is_direct(0));  // it may have to be replaced
  a.fanout.on_accepted(0);
  EXPECT_TRUE(a.fanout.is_direct(0));
}

TEST(Fanout, ALegWithOthersBesideItIsNotSentToDirectly) {
  FanoutCase a(Mode::HalfDuplex, kAll, 3);
  a.accept({0, 1}).open({2});
  EXPECT_FALSE(a.fanout.is_direct(0));
  a.answer(0, "winner");
  EXPECT_TRUE(a.fanout.is_direct(0));
  EXPECT_FALSE(a.fanout.is_direct(1));
}

TEST(Fanout, ALegIsSentToDirectlyOnceTheBacklogIsEmpty) {
  FanoutCase a(Mode::HalfDuplex, kAll, 2);
  a.accept({0, 1});
  a.read(1, "all");
  a.send(1);
  a.answer(0, "x");
  EXPECT_FALSE(a.fanout.is_direct(0));
  a.send(0);
  EXPECT_TRUE(a.fanout.is_direct(0));
  a.fanout.on_stopped(0, StreamCode::ServerReset);
  EXPECT_FALSE(a.fanout.is_direct(0));
}

TEST(Fanout, AReadThatFoundNothingWakesNobodyAndKeepsNothing) {
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0, 1}).go_on();
  a.fanout.reserve(500'000);
  a.fanout.commit(0, 0);
  EXPECT_EQ(a.commands(), "");
  EXPECT_EQ(a.pool.take()->used, 0u);
  EXPECT_GT(a.fanout.may_read(1), 0u);
}

// --- Half duplex: the latch ---

TEST(Fanout, TheFirstAnswerLatches) {
  FanoutCase a(Mode::HalfDuplex, kAll, 3);
  a.accept({0, 1, 2}).go_on();
  EXPECT_EQ(a.answer(1, "fast"), "fast");
  EXPECT_EQ(a.fanout.winner(), LegId{1});
  EXPECT_EQ(a.commands(), "reset 0 lost-race; reset 2 lost-race");
  EXPECT_EQ(a.answer(1, " and more"), " and more");
}

TEST(Fanout, NothingOfALoserReachesTheClient) {
  FanoutCase a(Mode::HalfDuplex, kAll, 2);
  a.accept({0, 1});
  a.answer(1, "winner");
  EXPECT_EQ(a.answer(0, "loser"), "");
  EXPECT_EQ(a.fanout.leg(0).code, StreamCode::LostRace);
  EXPECT_EQ(a.fanout.leg(0).state, LegState::Dropped);
  EXPECT_FALSE(a.fanout.leg(0).answered);
}

TEST(Fanout, LegsThatHaveNoStreamYetLoseToo) {
  FanoutCase a(Mode::HalfDuplex, kAll, 3);
  a.accept({0}).open({1}).go_on();
  a.answer(0, "x");
  EXPECT_EQ(a.commands(), "reset 1 lost-race; reset 2 lost-race");
  a.fanout.on_opened(2);  // too late
  a.fanout.on_accepted(1);
  EXPECT_EQ(a.commands(), "");
  EXPECT_EQ(a.fanout.leg(2).state, LegState::Dropped);
  EXPECT_FALSE(a.fanout.is_opening());
}

TEST(Fanout, ALoserThatHadEndedStaysEnded) {
  FanoutCase a(Mode::HalfDuplex, kAll, 2);
  a.accept({0, 1});
  a.fanout.finish();
  a.fanout.on_finished(0);
  a.go_on();
  a.answer(1, "x");
  EXPECT_EQ(a.commands(), "");
  EXPECT_EQ(a.fanout.leg(0).state, LegState::Ended);
}

TEST(Fanout, TheWinnersBytesNeedNotWaitForWholeFrames) {
  FanoutCase a(Mode::HalfDuplex, kAll, 2);
  a.accept({0, 1});
  EXPECT_EQ(a.answer(0, "half a fr", 9), "half a fr");
  EXPECT_EQ(a.answer(0, "ame"), "ame");
}

TEST(Fanout, ALegThatFailsBeforeTheLatchIsALegLess) {
  FanoutCase a(Mode::HalfDuplex, kAll, 3);
  a.accept({0, 1, 2}).go_on();
  a.fanout.on_failed(0, StreamCode::ServerReset);
  a.fanout.on_finished(1);
  EXPECT_EQ(a.fanout.answer(), Answer::Coming);
  EXPECT_EQ(a.answer(2, "x"), "x");
  EXPECT_EQ(a.commands(), "reset 1 lost-race");
}

TEST(Fanout, TheWinnersEndIsTheAnswersEnd) {
  FanoutCase a(Mode::HalfDuplex, kAll, 2);
  a.accept({0, 1});
  a.answer(0, "x");
  EXPECT_EQ(a.fanout.answer(), Answer::Coming);
  a.fanout.on_finished(0);
  EXPECT_EQ(a.fanout.answer(), Answer::Finished);
  EXPECT_FALSE(a.fanout.is_over());
  a.fanout.finish();
  EXPECT_TRUE(a.fanout.is_over());
}

TEST(Fanout, AWinnerThatBreaksBreaksTheAnswer) {
  for (bool had_finished : {false, true}) {
    FanoutCase a(Mode::HalfDuplex, kAll, 3);
    a.accept({0, 1});
    a.answer(0, "x");
    if (had_finished) a.fanout.on_finished(0);
    a.go_on();
    a.fanout.on_failed(0, StreamCode::ServerReset);
    EXPECT_EQ(a.fanout.answer(), Answer::Broken);
    EXPECT_EQ(a.fanout.code(), StreamCode::ServerReset);
    EXPECT_EQ(a.commands(), "");
    EXPECT_TRUE(a.fanout.is_over());
  }
}

TEST(Fanout, WhenAllHaveEndedWithoutAByteTheClientGetsAFin) {
  FanoutCase a(Mode::HalfDuplex, kAll, 3);
  a.accept({0, 1, 2});
  a.fanout.on_finished(1);
  a.fanout.on_failed(0, StreamCode::ServerReset);
  EXPECT_EQ(a.fanout.answer(), Answer::Coming);
  a.fanout.on_failed(2, StreamCode::ConnectFailed);
  EXPECT_EQ(a.fanout.answer(), Answer::Finished);
}

TEST(Fanout, WhenAllHaveFailedTheClientIsReset) {
  for (Mode mode : {Mode::HalfDuplex, Mode::FullDuplex, Mode::Publish}) {
    FanoutCase a(mode, kAll, 2);
    a.accept({0}).open({1});
    a.fanout.on_failed(0, StreamCode::ServerReset);
    EXPECT_EQ(a.fanout.answer(), Answer::Coming);
    a.fanout.on_failed(1, StreamCode::ConnectFailed);
    EXPECT_EQ(a.fanout.answer(), Answer::Broken);
    EXPECT_EQ(a.fanout.code(), StreamCode::ConnectFailed);
    EXPECT_TRUE(a.fanout.is_over());
  }
}

TEST(Fanout, TheReasonOfTheWinnersStopIsNotTheLostRace) {
  FanoutCase a(Mode::HalfDuplex, kAll, 2);
  a.accept({0, 1});
  a.fanout.on_stopped(0, StreamCode::ServerReset);
  EXPECT_FALSE(a.fanout.is_stopped());
  a.answer(0, "I read no more");
  EXPECT_TRUE(a.fanout.is_stopped());
  EXPECT_EQ(a.fanout.code(), StreamCode::ServerReset);
}

// --- Full duplex: merging ---

TEST(Fanout, AnswersAreMergedInTheOrderOfTheirArrival) {
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0, 1}).go_on();
  EXPECT_EQ(a.answer(1, "b1 "), "b1 ");
  EXPECT_EQ(a.answer(0, "a1 "), "a1 ");
  EXPECT_EQ(a.answer(1, "b2 "), "b2 ");
  EXPECT_EQ(a.commands(), "");
  EXPECT_FALSE(a.fanout.winner());
}

TEST(Fanout, WhatWasReadInOneGoIsNotCutByOthers) {
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0, 1});
  EXPECT_EQ(a.answer(0, "[whole][a", 2), "[whole]");
  EXPECT_EQ(a.answer(1, "(whole)"), "(whole)");
  EXPECT_EQ(a.answer(0, "bc", 2), "");
  EXPECT_EQ(a.answer(1, "(b", 2), "");
  EXPECT_EQ(a.answer(0, "d][x", 2), "[abcd]");
  EXPECT_EQ(a.answer(1, ")"), "(b)");
  EXPECT_EQ(a.answer(0, "]"), "[x]");
}

TEST(Fanout, APartThatIsHeldGoesOnWhenNoOtherLegCanAnswer) {
  FanoutCase a(Mode::FullDuplex, kAll, 3);
  a.accept({0, 1, 2});
  EXPECT_EQ(a.answer(0, "[a", 2), "");
  a.fanout.on_finished(1);
  EXPECT_EQ(a.released(), "");
  a.fanout.on_failed(2, StreamCode::ServerReset);
  EXPECT_EQ(a.released(), "[a");
  EXPECT_EQ(a.answer(0, "bc", 2), "bc");
  EXPECT_EQ(a.answer(0, "d]"), "d]");
  EXPECT_EQ(a.fanout.answer(), Answer::Coming);
}

TEST(Fanout, ALegThatIsNotOpenYetMayStillAnswer) {
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0});
  EXPECT_EQ(a.answer(0, "[a", 2), "");
  a.accept({1});
  EXPECT_EQ(a.answer(1, "(b)"), "(b)");
  EXPECT_EQ(a.answer(0, "]"), "[a]");
}

TEST(Fanout, TheAnswerHasEndedWhenAllLegsHave) {
  FanoutCase a(Mode::FullDuplex, kAll, 3);
  a.accept({0, 1, 2});
  a.answer(0, "x");
  a.fanout.on_finished(0);
  a.fanout.on_finished(2);
  EXPECT_EQ(a.fanout.answer(), Answer::Coming);
  a.fanout.on_finished(1);
  EXPECT_EQ(a.fanout.answer(), Answer::Finished);
}

TEST(Fanout, ALegThatBreaksBeforeItsFirstByteIsALegLess) {
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0, 1});
  a.answer(0, "x");
  a.answer(1, "[part", 5);
  a.fanout.on_failed(1, StreamCode::LinkLost);
  EXPECT_EQ(a.released(), "");
  EXPECT_EQ(a.budget.buffered(), 0u);
  a.fanout.on_finished(0);
  EXPECT_EQ(a.fanout.answer(), Answer::Finished);
}

TEST(Fanout, ALegThatBreaksInItsAnswerMakesTheEndAReset) {
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0, 1});
  a.answer(1, "y");
  a.fanout.on_failed(1, StreamCode::ServerReset);
  EXPECT_EQ(a.fanout.answer(), Answer::Coming);
  EXPECT_EQ(a.answer(0, "x"), "x");
  a.fanout.on_finished(0);
  EXPECT_EQ(a.fanout.answer(), Answer::Broken);
  EXPECT_EQ(a.fanout.code(), StreamCode::ServerReset);
}

TEST(Fanout, ALegThatBreaksAfterItsAnswerIsComplete) {
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0, 1});
  a.answer(1, "y");
  a.fanout.on_finished(1);
  a.fanout.on_failed(1, StreamCode::ServerReset);
  a.fanout.on_finished(0);
  EXPECT_EQ(a.fanout.answer(), Answer::Finished);
}

// --- Publish ---

TEST(Fanout, AnswersToAPublisherAreDiscarded) {
  FanoutCase a(Mode::Publish, kAll, 2);
  a.accept({0, 1}).go_on();
  EXPECT_EQ(a.answer(0, "x"), "");
  EXPECT_EQ(a.answer(1, "[y", 2), "");
  EXPECT_EQ(a.commands(), "");
  EXPECT_EQ(a.budget.buffered(), 0u);
  a.fanout.on_finished(0);
  EXPECT_EQ(a.fanout.answer(), Answer::Coming);
  a.fanout.on_failed(1, StreamCode::ServerReset);
  EXPECT_EQ(a.fanout.answer(), Answer::Finished);
}

// --- The client's end ---

TEST(Fanout, TheClientsFinGoesToEveryLegBehindTheBytes) {
  FanoutCase a(Mode::FullDuplex, kAll, 4);
  a.accept({0, 1}).open({2});
  a.read(0, "all");
  a.send(0);
  a.send(1, 2);
  a.send(2);
  a.go_on();
  a.fanout.finish();
  EXPECT_EQ(a.commands(), "finish 0; finish 2");
  EXPECT_EQ(a.fanout.may_read(0), 0u);
  a.send(1);
  EXPECT_EQ(a.commands(), "finish 1");
  a.open({3});
  EXPECT_EQ(a.commands(), "want 3");
  a.send(3);
  EXPECT_EQ(a.commands(), "finish 3");
  EXPECT_FALSE(a.fanout.is_stopped());
}

TEST(Fanout, AFinWithoutBytesGoesToALegThatOpensLater) {
  FanoutCase a(Mode::Publish, kAll, 2);
  a.open({0}).go_on();
  a.fanout.finish();
  EXPECT_EQ(a.commands(), "finish 0");
  a.open({1});
  EXPECT_EQ(a.commands(), "want 1; finish 1");
}

TEST(Fanout, ALegHasEndedWhenBothDirectionsHave) {
  for (bool answer_first : {false, true}) {
    FanoutCase a(Mode::FullDuplex, kAll, 2);
    a.accept({0, 1});
    answer_first ? a.fanout.on_finished(0) : a.fanout.finish();
    EXPECT_EQ(a.fanout.leg(0).state, LegState::Open);
    answer_first ? a.fanout.finish() : a.fanout.on_finished(0);
    EXPECT_EQ(a.fanout.leg(0).state, LegState::Ended);
    EXPECT_FALSE(a.fanout.is_over());
    a.fanout.on_finished(1);
    EXPECT_TRUE(a.fanout.is_over());
  }
}

TEST(Fanout, WhenTheClientIsGoneEveryLegIsReset) {
  FanoutCase a(Mode::FullDuplex, kAll, 4);
  a.accept({0, 1}).open({2}).go_on();
  a.read(0, "unsent");
  a.answer(0, "[held", 5);
  a.fanout.on_failed(1, StreamCode::ServerReset);
  a.go_on();
  a.fanout.abandon(StreamCode::ClientReset);
  EXPECT_EQ(a.commands(), "reset 0 client-reset; reset 2 client-reset; reset 3 client-reset");
  EXPECT_TRUE(a.fanout.is_over());
  EXPECT_EQ(a.fanout.answer(), Answer::Broken);
  EXPECT_EQ(a.budget.buffered(), 0u);
  EXPECT_EQ(a.fanout.leg(1).code, StreamCode::ServerReset);
}

TEST(Fanout, ALegThatIsOverIsNotResetForAnotherReason) {
  FanoutCase a(Mode::Publish, kAll, 1);
  a.accept({0}).go_on();
  a.fanout.abandon(StreamCode::ClientReset);
  a.go_on();
  a.fanout.on_failed(0, StreamCode::LinkLost);
  a.fanout.abandon(StreamCode::Cancelled);
  EXPECT_EQ(a.commands(), "");
  EXPECT_EQ(a.fanout.leg(0).code, StreamCode::ClientReset);
}

// --- STOP, from either end ---

TEST(Fanout, AServerThatReadsNoMoreIsSentNothing) {
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0, 1});
  a.read(0, "12345");
  a.fanout.on_stopped(0, StreamCode::ServerReset);
  EXPECT_EQ(a.send(0), "");
  EXPECT_EQ(a.send(1), "12345");
  EXPECT_EQ(a.fanout.may_read(0), 0u);
  EXPECT_FALSE(a.fanout.is_stopped());
  EXPECT_EQ(a.answer(0, "x"), "x");
  a.go_on();
  a.fanout.finish();
  EXPECT_EQ(a.commands(), "finish 1");
}

TEST(Fanout, WhenNoServerReadsTheClientIsToldToStop) {
  FanoutCase a(Mode::FullDuplex, kAll, 3);
  a.accept({0, 1}).open({2});
  a.fanout.on_stopped(0, StreamCode::ServerReset);
  a.fanout.on_failed(2, StreamCode::ConnectFailed);
  EXPECT_FALSE(a.fanout.is_stopped());
  a.fanout.on_stopped(1, StreamCode::Cancelled);
  EXPECT_TRUE(a.fanout.is_stopped());
  EXPECT_EQ(a.fanout.code(), StreamCode::Cancelled);
  EXPECT_EQ(a.fanout.answer(), Answer::Coming);
  a.fanout.on_finished(0);
  a.fanout.on_finished(1);
  EXPECT_TRUE(a.fanout.is_over());
}

TEST(Fanout, AClientThatHasFinishedIsNotToldToStop) {
  FanoutCase a(Mode::FullDuplex, kAll, 1);
  a.accept({0});
  a.fanout.finish();
  EXPECT_FALSE(a.fanout.is_stopped());
}

TEST(Fanout, AClientThatReadsNoMoreWaitsForNoAnswer) {
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0, 1}).go_on();
  a.fanout.on_finished(1);
  a.fanout.stop_answers(StreamCode::ClientReset);
  EXPECT_EQ(a.commands(), "stop 0 client-reset");
  EXPECT_EQ(a.fanout.answer(), Answer::Finished);
  EXPECT_FALSE(a.fanout.is_over());
  a.read(0, "x");
  EXPECT_EQ(a.send(0), "x");
  a.send(1);
  a.go_on();
  a.fanout.finish();
  EXPECT_EQ(a.commands(), "finish 0; finish 1");
  EXPECT_TRUE(a.fanout.is_over());
}

TEST(Fanout, ALegThatIsNotAcceptedYetIsToldLaterThatTheClientReadsNoMore) {
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0}).open({1}).go_on();
  a.fanout.stop_answers(StreamCode::ClientReset);
  a.fanout.finish();
  EXPECT_EQ(a.commands(), "stop 0 client-reset; finish 0; finish 1");
  EXPECT_FALSE(a.fanout.is_over());  // it may be refused, and then another server is to get the client's bytes
  a.fanout.on_accepted(1);
  EXPECT_EQ(a.commands(), "stop 1 client-reset");
  EXPECT_TRUE(a.fanout.is_over());
}

TEST(Fanout, PartsThatAreHeldDoNotOutliveAClientThatReadsNoMore) {
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0, 1});
  a.answer(0, "[a", 2);
  a.answer(1, "(b", 2);
  a.fanout.stop_answers(StreamCode::ClientReset);
  a.fanout.finish();
  a.released();
  EXPECT_TRUE(a.fanout.is_over());
  EXPECT_EQ(a.budget.buffered(), 0u);
}

// --- Legs that cannot be opened ---

TEST(Fanout, ALegThatCannotBeOpenedIsReplacedByTheNextServer) {
  FanoutCase a(Mode::HalfDuplex, {.legs = 2}, {3, 1, 0, 2});
  a.accept({0}).open({1}).go_on();
  a.read(0, "request");
  a.send(1);
  a.go_on();
  a.fanout.on_failed(1, StreamCode::ConnectFailed);
  EXPECT_EQ(a.commands(), "open 2");
  EXPECT_EQ(a.fanout.leg(2).server, 0u);
  a.accept({2});
  EXPECT_EQ(a.commands(), "want 2");
  EXPECT_EQ(a.send(2), "request");
  EXPECT_EQ(a.fanout.leg(1).state, LegState::Failed);
}

TEST(Fanout, EveryRefusalAndEveryLinkThatIsDownLeadsToTheNextServer) {
  for (StreamCode code : {StreamCode::UnknownService, StreamCode::ConnectFailed, StreamCode::ConnectTimeout,
                          StreamCode::Overload, StreamCode::NoDescriptors, StreamCode::GoingAway}) {
    FanoutCase a(Mode::Balance, kAll, 3);
    a.open({0}).go_on();
    a.fanout.on_failed(0, code);
    EXPECT_EQ(a.commands(), "open 1") << name_of(code);
    a.fanout.on_failed(1, StreamCode::ConnectFailed);  // there was no link: it never had a stream
    EXPECT_EQ(a.commands(), "open 2");
    a.open({2}).go_on();
    a.fanout.on_failed(2, code);
    EXPECT_EQ(a.commands(), "");
    EXPECT_EQ(a.fanout.answer(), Answer::Broken);
    EXPECT_EQ(a.fanout.code(), code);
  }
}

TEST(Fanout, ALinkThatIsLostBeforeAnythingWasSentLeadsToTheNextServer) {
  FanoutCase a(Mode::Balance, kAll, 2);
  a.open({0}).go_on();
  a.read(0, "x");
  a.fanout.on_failed(0, StreamCode::LinkLost);
  EXPECT_EQ(a.commands(), "open 1");
}

TEST(Fanout, ALinkThatIsLostAfterBytesWereSentIsNotReplaced) {
  FanoutCase a(Mode::Balance, kAll, 2);
  a.open({0});
  a.read(0, "x");
  a.send(0);
  a.go_on();
  a.fanout.on_failed(0, StreamCode::LinkLost);
  EXPECT_EQ(a.commands(), "");
  EXPECT_EQ(a.fanout.answer(), Answer::Broken);
  EXPECT_EQ(a.fanout.code(), StreamCode::LinkLost);
}

TEST(Fanout, ALegThatWasAcceptedIsNotReplaced) {
  FanoutCase a(Mode::Balance, kAll, 2);
  a.accept({0}).go_on();
  a.fanout.on_failed(0, StreamCode::ServerReset);
  EXPECT_EQ(a.commands(), "");
  EXPECT_EQ(a.fanout.answer(), Answer::Broken);
}

TEST(Fanout, ALegIsNotReplacedOnceTheFirstBytesAreForgotten) {
  FanoutCase a(Mode::HalfDuplex, {.legs = 2, .lag = kLag}, 3);
  a.accept({0}).open({1});
  a.read(0, std::string(kLag, 'x'));
  a.send(0);
  a.send(1);
  a.read(0, "x");
  a.send(0);
  a.send(1);
  EXPECT_EQ(a.fanout.kept(), 0u);
  a.go_on();
  a.fanout.on_failed(1, StreamCode::ConnectFailed);
  EXPECT_EQ(a.commands(), "");
  EXPECT_EQ(a.answer(0, "still here"), "still here");
}

TEST(Fanout, AReplacementGetsTheClientsFinToo) {
  FanoutCase a(Mode::Balance, kAll, 2);
  a.open({0});
  a.read(0, "all");
  a.send(0);
  a.fanout.finish();
  a.fanout.on_failed(0, StreamCode::ConnectFailed);
  a.go_on();
  a.open({1});
  EXPECT_EQ(a.commands(), "want 1");
  EXPECT_EQ(a.send(1), "all");
  EXPECT_EQ(a.commands(), "finish 1");
}

TEST(Fanout, AReplacementIsNotWaitedForByAClientThatReadsNoMore) {
  FanoutCase a(Mode::FullDuplex, {.legs = 2}, 3);
  a.accept({0}).open({1});
  a.fanout.stop_answers(StreamCode::ClientReset);
  a.fanout.on_failed(1, StreamCode::ConnectFailed);
  a.go_on();
  a.accept({2});
  EXPECT_EQ(a.commands(), "want 2; stop 2 client-reset");
  a.fanout.finish();
  EXPECT_TRUE(a.fanout.is_over());
}

TEST(Fanout, ALegThatWaitedIsNotWaitedForByAClientThatReadsNoMore) {
  FanoutCase a(Mode::Publish, kAll, 2);
  a.accept({0}).go_on();
  a.fanout.stop_answers(StreamCode::ClientReset);
  a.fanout.finish();
  EXPECT_FALSE(a.fanout.is_over());
  a.go_on();
  a.open({1});
  EXPECT_EQ(a.commands(), "want 1; finish 1");
  a.fanout.on_accepted(1);
  EXPECT_EQ(a.commands(), "stop 1 client-reset");
  EXPECT_TRUE(a.fanout.is_over());
}

// --- Quorum ---

TEST(Fanout, NothingIsSentBeforeTheQuorum) {
  FanoutCase a(Mode::FullDuplex, with_quorum(2), 3);
  a.go_on().open({0, 1, 2});
  EXPECT_EQ(a.commands(), "");
  a.fanout.on_accepted(1);
  EXPECT_EQ(a.commands(), "");
  for (LegId leg : {0, 1, 2}) {
    EXPECT_EQ(a.fanout.may_read(leg), 0u);
    EXPECT_EQ(a.fanout.unsent(leg), 0u);
    EXPECT_FALSE(a.fanout.is_direct(leg));
  }
  EXPECT_FALSE(a.fanout.is_open());
  a.fanout.on_accepted(0);
  EXPECT_TRUE(a.fanout.is_open());
  EXPECT_EQ(a.commands(), "want 0; want 1; want 2");
  EXPECT_GT(a.fanout.may_read(2), 0u);
}

TEST(Fanout, ALegThatOpensAfterTheQuorumIsSentToAtOnce) {
  FanoutCase a(Mode::FullDuplex, with_quorum(2), 3);
  a.accept({0, 1}).go_on();
  a.read(0, "x");
  a.go_on();
  a.open({2});
  EXPECT_EQ(a.commands(), "want 2");
  EXPECT_EQ(a.send(2), "x");
}

TEST(Fanout, AnswersBeforeTheQuorumAreHeld) {
  FanoutCase a(Mode::FullDuplex, with_quorum(2), 3);
  a.accept({1}).open({0, 2});
  EXPECT_EQ(a.answer(1, "first [par", 4), "");
  EXPECT_EQ(a.budget.buffered(), 10u);
  EXPECT_EQ(a.answer(1, "t] [more", 5), "");
  a.fanout.on_accepted(2);
  EXPECT_EQ(a.released(), "first [part] ");
  EXPECT_EQ(a.answer(2, "(x)"), "(x)");
  EXPECT_EQ(a.answer(1, "]"), "[more]");
}

TEST(Fanout, WhatWasHeldFirstIsReleasedFirst) {
  FanoutCase a(Mode::FullDuplex, with_quorum(3), 3);
  a.accept({0, 1}).open({2});
  a.answer(1, "b");
  a.answer(0, "a");
  a.fanout.on_accepted(2);
  EXPECT_EQ(a.released(), "ba");
}

TEST(Fanout, TheFirstAnswerThatWasHeldLatchesAtTheQuorum) {
  FanoutCase a(Mode::HalfDuplex, with_quorum(3), 4);
  a.accept({0, 1}).open({2, 3});
  EXPECT_EQ(a.answer(1, "first", 5), "");
  EXPECT_EQ(a.answer(0, "second"), "");
  EXPECT_FALSE(a.fanout.winner());
  a.go_on();
  a.fanout.on_accepted(3);
  EXPECT_EQ(a.fanout.winner(), LegId{1});
  EXPECT_EQ(a.commands(), "reset 0 lost-race; reset 2 lost-race; reset 3 lost-race; want 1");
  EXPECT_EQ(a.released(), "first");
  EXPECT_EQ(a.answer(1, " and on"), " and on");
  EXPECT_EQ(a.budget.buffered(), 0u);
}

TEST(Fanout, AnAnswerThatWasHeldAndEndedStillLatches) {
  FanoutCase a(Mode::HalfDuplex, with_quorum(2), 2);
  a.accept({0}).open({1});
  a.answer(0, "short");
  a.fanout.on_finished(0);
  EXPECT_EQ(a.fanout.answer(), Answer::Coming);
  a.fanout.on_accepted(1);
  EXPECT_EQ(a.fanout.winner(), LegId{0});
  EXPECT_EQ(a.fanout.answer(), Answer::Coming);
  EXPECT_EQ(a.released(), "short");
  EXPECT_EQ(a.fanout.answer(), Answer::Finished);
  EXPECT_FALSE(a.fanout.is_over());
  a.fanout.finish();
  EXPECT_TRUE(a.fanout.is_over());
}

TEST(Fanout, ALegThatHoldsItsWholeAnswerHasNotEnded) {
  FanoutCase a(Mode::FullDuplex, with_quorum(2), 2);
  a.accept({0}).open({1});
  a.answer(0, "all");
  a.fanout.on_stopped(0, StreamCode::ServerReset);
  a.fanout.on_finished(0);
  EXPECT_EQ(a.fanout.leg(0).state, LegState::Open);
  a.fanout.on_accepted(1);
  EXPECT_EQ(a.released(), "all");
  EXPECT_EQ(a.fanout.leg(0).state, LegState::Ended);
}

TEST(Fanout, WhatALegHeldThatFailedIsForgotten) {
  FanoutCase a(Mode::HalfDuplex, with_quorum(2), 3);
  a.accept({0}).open({1, 2});
  a.answer(0, "gone");
  a.fanout.on_failed(0, StreamCode::ServerReset);
  EXPECT_EQ(a.budget.buffered(), 0u);
  a.fanout.on_accepted(1);
  EXPECT_FALSE(a.fanout.is_open());
  a.fanout.on_accepted(2);
  EXPECT_TRUE(a.fanout.is_open());
  EXPECT_FALSE(a.fanout.winner());
  EXPECT_EQ(a.released(), "");
}

TEST(Fanout, FewerLivingLegsThanTheQuorumEndTheConversation) {
  for (bool is_open : {false, true}) {
    FanoutCase a(Mode::HalfDuplex, with_quorum(2), 3);
    a.accept({0}).open({1, 2});
    if (is_open) a.fanout.on_accepted(1);
    a.go_on();
    a.fanout.on_failed(2, StreamCode::ConnectFailed);
    EXPECT_EQ(a.fanout.answer(), Answer::Coming);
    a.fanout.on_failed(1, StreamCode::ServerReset);
    EXPECT_EQ(a.fanout.answer(), Answer::Broken);
    EXPECT_EQ(a.fanout.code(), StreamCode::NoQuorum);
    EXPECT_EQ(a.commands(), "reset 0 no-quorum");
    EXPECT_TRUE(a.fanout.is_over());
  }
}

TEST(Fanout, AfterTheLatchTheQuorumDoesNotMatter) {
  constexpr std::uint64_t kMuch = 2 * 1024 * 1024;
  FanoutCase a(Mode::HalfDuplex, with_quorum(2), 2);
  a.accept({0, 1});
  a.read(1, std::string(kMuch, 'x'));
  a.send(1);
  a.answer(0, "x");
  EXPECT_EQ(a.fanout.answer(), Answer::Coming);
  a.budget.hold(a.budget.limit());  // memory is short, and the winner is behind
  a.send(0);
  EXPECT_EQ(a.fanout.answer(), Answer::Coming);
  EXPECT_EQ(a.answer(0, "y"), "y");
  a.budget.drop(a.budget.limit());
}

TEST(Fanout, ALegThatHasEndedCleanlyCountsForTheQuorum) {
  FanoutCase a(Mode::FullDuplex, with_quorum(2), 2);
  a.accept({0, 1});
  a.fanout.finish();
  a.fanout.on_finished(0);
  EXPECT_EQ(a.fanout.leg(0).state, LegState::Ended);
  EXPECT_EQ(a.answer(1, "x"), "x");
  EXPECT_EQ(a.fanout.answer(), Answer::Coming);
  a.fanout.on_finished(1);
  EXPECT_EQ(a.fanout.answer(), Answer::Finished);
}

TEST(Fanout, ALegThatHasEndedIsLeftWhenOthersFail) {
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0, 1});
  a.fanout.finish();
  a.fanout.on_finished(0);
  a.fanout.on_failed(1, StreamCode::ServerReset);
  EXPECT_EQ(a.fanout.answer(), Answer::Finished);
}

TEST(Fanout, ALegThatEndedBeforeTheQuorumCountsForIt) {
  FanoutCase a(Mode::FullDuplex, with_quorum(2), 2);
  a.accept({0}).open({1});
  a.fanout.on_finished(0);
  a.fanout.on_stopped(0, StreamCode::Cancelled);
  EXPECT_EQ(a.fanout.leg(0).state, LegState::Ended);
  a.fanout.on_accepted(1);
  EXPECT_TRUE(a.fanout.is_open());
}

TEST(Fanout, AReplacementCountsForTheQuorum) {
  FanoutCase a(Mode::HalfDuplex, {.legs = 2, .quorum = 2}, 3);
  a.accept({0}).open({1}).go_on();
  a.fanout.on_failed(1, StreamCode::ConnectFailed);
  EXPECT_EQ(a.fanout.answer(), Answer::Coming);
  EXPECT_EQ(a.commands(), "open 2");
  a.accept({2});
  EXPECT_TRUE(a.fanout.is_open());
}

TEST(Fanout, ALegThatWasAcceptedAndFailedDoesNotCountForTheQuorum) {
  FanoutCase a(Mode::Publish, with_quorum(2), 3);
  a.accept({0}).open({1, 2});
  a.fanout.on_failed(0, StreamCode::ServerReset);
  a.fanout.on_accepted(1);
  EXPECT_FALSE(a.fanout.is_open());
}

// --- connect_timeout ---

TEST(Fanout, WithoutAnAcceptedLegTheConnectTimeoutEndsTheConversation) {
  FanoutCase a(Mode::HalfDuplex, kAll, 2);
  a.open({0}).go_on();
  a.fanout.on_connect_timeout();
  EXPECT_EQ(a.commands(), "reset 0 connect-timeout; reset 1 connect-timeout");
  EXPECT_EQ(a.fanout.answer(), Answer::Broken);
  EXPECT_EQ(a.fanout.code(), StreamCode::ConnectTimeout);
}

TEST(Fanout, WithoutTheQuorumTheConnectTimeoutResetsTheLegsThatHadOpened) {
  FanoutCase a(Mode::HalfDuplex, with_quorum(2), 3);
  a.accept({0}).open({1}).go_on();
  a.fanout.on_connect_timeout();
  EXPECT_EQ(a.commands(), "reset 0 no-quorum; reset 1 no-quorum; reset 2 no-quorum");
  EXPECT_EQ(a.fanout.answer(), Answer::Broken);
  EXPECT_EQ(a.fanout.code(), StreamCode::NoQuorum);
}

TEST(Fanout, AfterTheQuorumTheConnectTimeoutGivesUpTheOthersOnly) {
  FanoutCase a(Mode::FullDuplex, {.legs = 3}, 4);
  a.accept({0}).open({1}).go_on();
  a.read(0, "x");
  a.send(0);
  EXPECT_EQ(a.fanout.kept(), 1u);
  a.go_on();
  a.fanout.on_connect_timeout();
  EXPECT_EQ(a.commands(), "reset 1 connect-timeout; reset 2 connect-timeout");
  EXPECT_EQ(a.fanout.kept(), 0u);
  EXPECT_EQ(a.answer(0, "x"), "x");
  EXPECT_FALSE(a.fanout.is_opening());
}

// --- Lag ---

TEST(Fanout, ALegThatLagsIsReset) {
  FanoutCase a(Mode::FullDuplex, with_lag(kLag), 3);
  a.accept({0, 1, 2});
  a.read(0, std::string(kLag, 'x'));
  a.send(0);
  a.send(1, 1);
  a.go_on();
  EXPECT_EQ(a.fanout.kept(), kLag);
  a.read(0, "x");
  a.send(0);
  EXPECT_EQ(a.commands(), "want 1; want 2; reset 2 lagging");
  EXPECT_EQ(a.fanout.leg(2).state, LegState::Dropped);
  EXPECT_EQ(a.fanout.leg(2).code, StreamCode::Lagging);
  EXPECT_EQ(a.fanout.kept(), kLag);
  EXPECT_EQ(a.fanout.front() - a.fanout.leg(2).sent, kLag + 1);
  EXPECT_EQ(a.send(1).size(), kLag);
}

TEST(Fanout, ALegThatWaitsForItsStreamCanLagToo) {
  FanoutCase a(Mode::HalfDuplex, with_lag(kLag), 2);
  a.accept({0}).go_on();
  a.read(0, std::string(kLag + 1, 'x'));
  a.send(0);
  EXPECT_EQ(a.commands(), "reset 1 lagging");
}

TEST(Fanout, TheLastLegIsNeverTooFarBehind) {
  FanoutCase a(Mode::FullDuplex, with_lag(kLag), 2);
  a.accept({0, 1});
  a.read(0, std::string(kLag, 'x'));
  a.send(0);
  a.fanout.on_failed(0, StreamCode::ServerReset);
  a.go_on();
  EXPECT_EQ(a.send(1, 1).size(), 1u);
  a.budget.hold(a.budget.limit());  // memory is short
  EXPECT_EQ(a.send(1).size(), kLag - 1);
  EXPECT_EQ(a.commands(), "");
  a.budget.drop(a.budget.limit());
}

TEST(Fanout, ALegThatReadsNoMoreIsAheadOfNobody) {
  constexpr std::uint64_t kMuch = 2 * 1024 * 1024;
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0, 1});
  a.read(0, std::string(kMuch, 'x'));
  a.send(0);
  a.fanout.on_stopped(0, StreamCode::ServerReset);
  a.go_on();
  a.budget.hold(a.budget.limit());  // memory is short
  a.send(1, 1);
  EXPECT_EQ(a.commands(), "");
  EXPECT_EQ(a.send(1).size(), kMuch - 1);
  a.budget.drop(a.budget.limit());
}

TEST(Fanout, ALegThatIsSentAllIsAheadOfThoseThatAreNot) {
  constexpr std::uint64_t kMuch = 2 * 1024 * 1024;
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0, 1});
  a.read(0, std::string(kMuch, 'x'));
  a.send(0);
  a.fanout.finish();
  a.go_on();
  a.budget.hold(a.budget.limit());  // memory is short
  a.send(1, 1);
  EXPECT_EQ(a.commands(), "reset 1 lagging");
  a.budget.drop(a.budget.limit());
}

TEST(Fanout, WhileMemoryIsShortLessLagIsAllowed) {
  constexpr std::uint64_t kLess = 1024 * 1024;
  FanoutCase a(Mode::FullDuplex, kAll, 2);
  a.accept({0, 1});
  a.read(0, std::string(kLess, 'x'));
  a.budget.hold(a.budget.limit());
  a.send(0);
  a.go_on();
  EXPECT_EQ(a.fanout.kept(), kLess);
  a.read(0, "x");
  a.send(0);
  EXPECT_EQ(a.commands(), "want 1; reset 1 lagging; want 0");
  a.budget.drop(a.budget.limit());
}

TEST(Fanout, ALegThatLagsCountsNoMoreForTheQuorum) {
  FanoutCase a(Mode::FullDuplex, {.quorum = 2, .lag = kLag}, 2);
  a.accept({0, 1});
  a.read(0, std::string(kLag + 1, 'x'));
  a.go_on();
  a.send(0);
  EXPECT_EQ(a.commands(), "reset 1 lagging; reset 0 no-quorum");
  EXPECT_EQ(a.fanout.answer(), Answer::Broken);
  EXPECT_EQ(a.fanout.code(), StreamCode::NoQuorum);
}

TEST(Fanout, ALegThatLaggedInItsAnswerMakesTheEndAReset) {
  FanoutCase a(Mode::FullDuplex, with_lag(kLag), 2);
  a.accept({0, 1});
  a.answer(1, "y");
  a.read(0, std::string(kLag + 1, 'x'));
  a.send(0);
  a.fanout.on_finished(0);
  EXPECT_EQ(a.fanout.answer(), Answer::Broken);
}

// --- Legs that are only slower ---

constexpr Duration kPatience = std::chrono::milliseconds(250);
constexpr Duration kMoment = std::chrono::milliseconds(10);
constexpr std::size_t kFar = 256 * 1024;

// The front sends this much in a moment, 100 KB in a millisecond.
void advance(FanoutCase& a, LegId front, std::size_t bytes) {
  a.now += Duration(bytes / 100);
  a.read(front, std::string(bytes, 'x'));
  a.send(front);
}

TEST(Fanout, ALegThatIsFarBehindIsWaitedFor) {
  FanoutCase a(Mode::Publish, kAll, 3);
  a.accept({0, 1, 2});
  advance(a, 0, kFar);
  a.send(2);
  EXPECT_GT(a.fanout.may_read(0), 0u);
  advance(a, 0, 1);
  a.go_on();
  EXPECT_EQ(a.fanout.may_read(0), 0u);
  EXPECT_EQ(a.fanout.next_deadline(), a.now + kPatience);
  a.send(1, kFar / 2);
  EXPECT_EQ(a.fanout.may_read(0), 0u);
  EXPECT_EQ(a.commands(), "");
  a.send(1, 1);
  EXPECT_EQ(a.commands(), "want 0");
  EXPECT_GT(a.fanout.may_read(0), 0u);
  EXPECT_EQ(a.fanout.may_read(1), 0u);
  EXPECT_EQ(a.fanout.next_deadline(), Time::max());
}

TEST(Fanout, WithASmallLimitHalfOfItIsFar) {
  FanoutCase a(Mode::Publish, with_lag(kLag), 2);
  a.accept({0, 1});
  advance(a, 0, kLag / 2);
  EXPECT_GT(a.fanout.may_read(0), 0u);
  EXPECT_LE(a.fanout.may_read(0), kLag / 2);
  advance(a, 0, 1);
  EXPECT_EQ(a.fanout.may_read(0), 0u);
  a.send(1, kLag / 4 + 1);
  EXPECT_GT(a.fanout.may_read(0), 0u);
}

TEST(Fanout, ALegThatDoesNotMoveIsWaitedForOnce) {
  FanoutCase a(Mode::Publish, kAll, 2);
  a.accept({0, 1});
  advance(a, 0, kFar + 1);
  a.go_on();
  a.fanout.on_time(a.now += kPatience - Duration(1));
  EXPECT_EQ(a.fanout.may_read(0), 0u);
  a.fanout.on_time(a.now += Duration(1));
  EXPECT_EQ(a.commands(), "want 0");
  EXPECT_EQ(a.fanout.next_deadline(), Time::max());
  advance(a, 0, kAll.lag - kFar - 1);
  EXPECT_GT(a.fanout.may_read(0), 0u);
  a.go_on();
  advance(a, 0, 1);
  EXPECT_EQ(a.commands(), "want 1; reset 1 lagging");
}

TEST(Fanout, ALegThatIsHalfAsFastIsWaitedForAsLongAsItTakes) {
  FanoutCase a(Mode::Publish, kAll, 2);
  a.accept({0, 1});
  for (std::size_t sent = 0; sent <= kFar; sent += 4 * 1024, a.now += kMoment) advance(a, 0, 4 * 1024);
  EXPECT_EQ(a.fanout.may_read(0), 0u);  // 0.4 MB/s
  a.send(1, 56'000);
  a.fanout.on_time(a.now = a.fanout.next_deadline());
  EXPECT_EQ(a.fanout.may_read(0), 0u);
  a.send(1, 25'000);
  a.fanout.on_time(a.now = a.fanout.next_deadline());
  EXPECT_GT(a.fanout.may_read(0), 0u);
}

TEST(Fanout, ALegThatHasCaughtUpIsWaitedForAgain) {
  FanoutCase a(Mode::Publish, kAll, 2);
  a.accept({0, 1});
  advance(a, 0, kFar + 1);
  a.fanout.on_time(a.now += kPatience);
  advance(a, 0, kFar);
  EXPECT_GT(a.fanout.may_read(0), 0u);
  a.send(1, kFar + kFar / 2 + 1);
  advance(a, 0, kFar / 2 + 1);
  EXPECT_EQ(a.fanout.may_read(0), 0u);
}

TEST(Fanout, NobodyWaitsForALegThatIsGone) {
  for (bool is_stopped : {false, true}) {
    FanoutCase a(Mode::Publish, kAll, 2);
    a.accept({0, 1});
    advance(a, 0, kFar + 1);
    a.go_on();
    is_stopped ? a.fanout.on_stopped(1, StreamCode::ServerReset) : a.fanout.on_failed(1, StreamCode::ServerReset);
    EXPECT_EQ(a.commands(), "want 0");
    EXPECT_EQ(a.fanout.next_deadline(), Time::max());
  }
}

TEST(Fanout, NobodyWaitsForLosers) {
  FanoutCase a(Mode::HalfDuplex, kAll, 2);
  a.accept({0, 1});
  advance(a, 0, kFar + 1);
  a.go_on();
  a.answer(0, "x");
  EXPECT_EQ(a.commands(), "reset 1 lost-race; want 0");
}

TEST(Fanout, WhenTheFrontIsLostTheOthersAreStillWaitedFor) {
  FanoutCase a(Mode::Publish, kAll, 3);
  a.accept({0, 1, 2});
  advance(a, 0, kFar + 1);
  a.send(1);
  a.fanout.on_time(a.now += kPatience);  // leg 2 is slow, and the front goes on from here
  advance(a, 0, 4 * kFar);
  a.send(2, 2 * kFar);
  a.fanout.on_failed(0, StreamCode::ServerReset);
  a.send(1, 1);
  a.send(2);
  a.send(1);
  advance(a, 1, kFar + 1);
  EXPECT_EQ(a.fanout.may_read(1), 0u);
  a.send(2, kFar / 3);
  a.fanout.on_time(a.now += kMoment);
  EXPECT_EQ(a.fanout.may_read(1), 0u);
}

TEST(Fanout, AReplacementThatDoesNotMoveIsWaitedForOnce) {
  FanoutCase a(Mode::Publish, {.legs = 3}, 4);
  a.accept({0, 1}).open({2});
  advance(a, 0, 2 * kFar);
  a.send(1);
  a.fanout.on_time(a.now += kPatience);  // leg 2 is slow, and the front may go on
  EXPECT_GT(a.fanout.may_read(0), 0u);
  a.fanout.on_failed(2, StreamCode::ConnectFailed);
  a.accept({3});
  a.send(3, 1);
  EXPECT_EQ(a.fanout.may_read(0), 0u);
  a.fanout.on_time(a.now += kPatience);
  EXPECT_GT(a.fanout.may_read(0), 0u);
}

TEST(Fanout, NobodyWaitsOnceTheClientHasFinished) {
  FanoutCase a(Mode::Publish, kAll, 3);
  a.accept({0, 1, 2});
  advance(a, 0, kFar + 1);
  EXPECT_NE(a.fanout.next_deadline(), Time::max());
  a.fanout.finish();
  EXPECT_EQ(a.fanout.next_deadline(), Time::max());
  a.send(1, 1);
  EXPECT_EQ(a.fanout.next_deadline(), Time::max());
}

// A client's pause is not the front's slowness.
TEST(Fanout, AfterAPauseOfTheClientASlowLegIsNotTakenForAFastOne) {
  FanoutCase a(Mode::Publish, kAll, 2);
  a.accept({0, 1});
  advance(a, 0, 10);
  a.send(1);
  a.now += std::chrono::hours(1);
  advance(a, 0, kFar + 1);
  EXPECT_EQ(a.fanout.may_read(0), 0u);
  a.send(1, 1'000);
  a.fanout.on_time(a.now += kPatience);
  EXPECT_GT(a.fanout.may_read(0), 0u);
}

// --- Balance ---

TEST(Fanout, ABalancedLegPassesEverythingInBothDirections) {
  FanoutCase a(Mode::Balance, kAll, 2);
  a.accept({0});
  EXPECT_EQ(a.answer(0, "half a fr", 9), "half a fr");
  a.fanout.on_finished(0);
  EXPECT_EQ(a.fanout.answer(), Answer::Finished);
  a.fanout.finish();
  EXPECT_TRUE(a.fanout.is_over());
}

TEST(Fanout, TheModesHaveTheirNamesInTheLog) {
  EXPECT_EQ(name_of(Mode::OneToOne), "one-to-one");
  EXPECT_EQ(name_of(Mode::HalfDuplex), "half-duplex");
  EXPECT_EQ(name_of(Mode::FullDuplex), "full-duplex");
  EXPECT_EQ(name_of(Mode::Publish), "publish");
  EXPECT_EQ(name_of(Mode::Balance), "balance");
}

}  // namespace
}  // namespace cloudbus
