// SPDX-License-Identifier: Apache-2.0
// Streams: doc/protocol.md, section 3.

#include "cloudbus/core/session/session.h"

#include <gtest/gtest.h>

#include "core/session/session_end.h"

namespace cloudbus {
namespace {

using namespace wire;

const OpenRequest kRequest{{}, 0, "echo", "192.0.2.1:5000"};

std::unique_ptr<SessionEnd> controller(std::uint64_t window = 256 * 1024, std::uint64_t streams = 100) {
  return SessionEnd::ready(Role::Controller, {}, SessionEnd::kMemory, window, streams);
}
std::unique_ptr<SessionEnd> segment(std::uint64_t window = 256 * 1024) {
  return SessionEnd::ready(Role::Segment, {}, SessionEnd::kMemory, window);
}
// A controller with stream 1, which was accepted.
std::unique_ptr<SessionEnd> opened() {
  auto end = controller();
  end->session.open(kRequest, 11);
  end->feed(accept(1));
  end->written();
  return end;
}
// A segment with stream 1, which it accepted.
std::unique_ptr<SessionEnd> accepted() {
  auto end = segment();
  end->feed(open(1));
  end->session.adopt(1, 21);
  end->session.accept(1);
  end->written();
  return end;
}

// --- OPEN and ACCEPT ---

TEST(Session, OpenCarriesTheRequestAndNamesTheStream) {
  auto end = controller();
  EXPECT_EQ(end->session.open(kRequest, 11), 1u);
  EXPECT_EQ(end->session.open(kRequest, 12), 2u);
  EXPECT_EQ(end->written(), open(1) + open(2));
}

TEST(Session, OpenedTellsTheRequest) {
  auto end = segment();
  Buffer bytes = open(1, "database");
  Bytes input(bytes);
  auto event = end->session.receive(input, end->now);
  ASSERT_TRUE(event && event->kind == EventKind::Opened);
  EXPECT_EQ(event->stream, 1u);
  EXPECT_EQ(event->request->service, "database");
  EXPECT_EQ(event->request->client, "192.0.2.1:5000");
}

TEST(Session, DataMayFollowOpenAtOnce) {
  auto end = controller();
  end->session.open(kRequest, 11);
  EXPECT_EQ(end->send(1, "early"), 5u);
  EXPECT_EQ(end->written(), open(1) + data(1, "early"));
  auto other = segment();
  EXPECT_EQ(other->feed(open(1) + data(1, "early", true)), "opened 1 echo; data 1 early; finished 1");
}

TEST(Session, AcceptIsAnEmptyFrame) {
  auto end = segment();
  end->feed(open(1));
  end->session.accept(1);
  EXPECT_EQ(end->written(), accept(1));
  end->session.accept(1);
  EXPECT_TRUE(end->written().empty());
}

TEST(Session, AcceptedComesWithTheOwner) {
  auto end = controller();
  end->session.open(kRequest, 11);
  Buffer bytes = accept(1);
  Bytes input(bytes);
  auto event = end->session.receive(input, end->now);
  ASSERT_TRUE(event && event->kind == EventKind::Accepted);
  EXPECT_EQ(event->owner, 11u);
}

TEST(Session, AnOwnerThatWasAdoptedComesWithTheEvents) {
  auto end = accepted();
  Buffer bytes = data(1, "x");
  Bytes input(bytes);
  auto event = end->session.receive(input, end->now);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->owner, 21u);
}

TEST(Session, AcceptMayCarryFieldsThatAreNotCritical) {
  auto end = controller();
  end->session.open(kRequest, 11);
  EXPECT_EQ(end->feed(frame(FrameType::Accept, 1, field(5, text("x")))), "accepted 1");
  auto other = controller();
  other->session.open(kRequest, 11);
  EXPECT_EQ(other->feed(frame(FrameType::Accept, 1, field(kCritical | 5, {}))), "closed unsupported");
}

TEST(Session, ASecondAcceptClosesTheLink) { EXPECT_EQ(opened()->feed(accept(1)), "closed protocol-error"); }

TEST(Session, DataBeforeAcceptClosesTheLink) {
  for (const Buffer& early : {data(1, "x"), fin(1), data(1, "")}) {
    auto end = controller();
    end->session.open(kRequest, 11);
    EXPECT_EQ(end->feed(early), "closed protocol-error");
  }
}

TEST(Session, AcceptFromAControllerClosesTheLink) {
  auto end = segment();
  end->feed(open(1));
  EXPECT_EQ(end->feed(accept(1)), "closed protocol-error");
}

TEST(Session, OpenFromASegmentClosesTheLink) {
  EXPECT_EQ(controller()->feed(open(1)), "closed protocol-error");
  EXPECT_EQ(opened()->feed(open(2)), "closed protocol-error");
}

TEST(Session, AnIdThatIsNotGreaterThanTheLastClosesTheLink) {
  auto same = segment(), smaller = segment(), used = segment();
  EXPECT_EQ(same->feed(open(5) + open(5)), "opened 5 echo; closed protocol-error");
  EXPECT_EQ(smaller->feed(open(5) + open(4)), "opened 5 echo; closed protocol-error");
  EXPECT_EQ(used->feed(open(5) + reset(5, 0, 0) + open(5)), "opened 5 echo; reset 5 cancelled; closed protocol-error");
}

TEST(Session, IdsMaySkipNumbers) {
  EXPECT_EQ(segment()->feed(open(1) + open(100) + open(~std::uint64_t{0} - 1)),
            "opened 1 echo; opened 100 echo; opened 18446744073709551614 echo");
}

TEST(Session, ABadOpenClosesTheLink) {
  Buffer long_name = zeros(18) + u16(256) + zeros(256) + u16(0);
  EXPECT_EQ(segment()->feed(frame(FrameType::Open, 1, long_name)), "closed frame-error");
  EXPECT_EQ(segment()->feed(frame(FrameType::Open, 1, open_payload() + field(kCritical | 9, {}))),
            "closed unsupported");
  EXPECT_EQ(segment()->feed(frame(FrameType::Open, 1, open_payload() + field(1, {}) + field(1, {}))),
            "closed frame-error");
}

// --- DATA and FIN ---

TEST(Session, DataIsHandedOnAsItArrives) {
  auto end = accepted();
  Buffer bytes = data(1, "hello");
  EXPECT_EQ(end->feed(Bytes(bytes).first(14)), "data 1 he");
  EXPECT_EQ(end->feed(Bytes(bytes).subspan(14)), "data 1 llo");
}

TEST(Session, FinMayComeWithDataOrAlone) {
  EXPECT_EQ(accepted()->feed(data(1, "all", true)), "data 1 all; finished 1");
  EXPECT_EQ(accepted()->feed(data(1, "all") + fin(1)), "data 1 all; finished 1");
}

TEST(Session, FinComesAfterTheLastByteOfItsFrame) {
  auto end = accepted();
  Buffer bytes = data(1, "all", true);
  EXPECT_EQ(end->feed(Bytes(bytes).first(bytes.size() - 1)), "data 1 al");
  EXPECT_EQ(end->feed(Bytes(bytes).last(1)), "data 1 l; finished 1");
}

TEST(Session, FinishSaysThatAllWasSent) {
  auto end = opened();
  end->send(1, "request");
  end->session.finish(1);
  end->session.finish(1);
  EXPECT_EQ(end->written(), data(1, "request") + fin(1));
  EXPECT_EQ(end->send(1, "more"), 0u);
}

TEST(Session, AHalfClosedStreamStillReceives) {
  auto end = opened();
  end->session.finish(1);
  EXPECT_EQ(end->feed(data(1, "reply") + fin(1)), "data 1 reply; finished 1");
  EXPECT_EQ(end->session.stream_count(), 0u);
}

TEST(Session, AHalfClosedStreamStillSends) {
  auto end = accepted();
  end->feed(fin(1));
  EXPECT_EQ(end->send(1, "reply"), 5u);
  end->session.finish(1);
  EXPECT_EQ(end->written(), data(1, "reply") + fin(1));
  EXPECT_EQ(end->session.stream_count(), 0u);
}

TEST(Session, DataAfterFinClosesTheLink) {
  EXPECT_EQ(accepted()->feed(fin(1) + data(1, "x")), "finished 1; closed protocol-error");
}

TEST(Session, ASecondFinClosesTheLink) {
  EXPECT_EQ(accepted()->feed(fin(1) + fin(1)), "finished 1; closed protocol-error");
}

TEST(Session, DataWithoutBytesChangesNothing) {
  auto end = accepted();
  EXPECT_EQ(end->feed(data(1, "") + data(1, "x")), "data 1 x");
}

// --- Bytes that several streams share ---

// A slab of its own with this text.
Slice slice_of(SlabPool& pool, std::string_view text) {
  SlabRef slab = pool.take();
  text.copy(reinterpret_cast<char*>(slab->data()), text.size());
  return {slab, 0, text.size()};
}

TEST(Session, SharedBytesAreDataOfTheirStream) {
  SlabPool pool;
  auto end = controller();
  end->session.open(kRequest, 11);
  end->session.open(kRequest, 12);
  end->written();
  Slice slice = slice_of(pool, "shared");
  for (StreamId stream : {1, 2}) end->session.want(stream);
  while (auto quantum = end->session.next_quantum()) {
    end->session.share(*quantum, slice);
    end->session.fill_done(quantum->stream, 0, false);
  }
  EXPECT_EQ(end->written(), data(1, "shared") + data(2, "shared"));
  EXPECT_EQ(end->session.find(1)->sent, 6u);
}

TEST(Session, SharedBytesUseTheCredit) {
  SlabPool pool;
  auto end = controller(16'384);
  end->session.open(kRequest, 11);
  end->written();
  end->session.want(1);
  auto quantum = end->session.next_quantum();
  ASSERT_TRUE(quantum && quantum->bytes == 16'384);
  end->session.share(*quantum, slice_of(pool, std::string(10'000, 'x')));
  end->session.share(*quantum, slice_of(pool, std::string(6'384, 'y')));
  end->session.fill_done(1, 0, true);
  EXPECT_FALSE(end->session.next_quantum());
  EXPECT_EQ(end->session.find(1)->credit(), 0u);
  end->feed(credit(1, 16'394));
  quantum = end->session.next_quantum();
  ASSERT_TRUE(quantum);
  EXPECT_EQ(quantum->bytes, 10u);
  end->session.reset(1, StreamCode::ClientReset);
  EXPECT_EQ(end->written(), data(1, std::string(10'000, 'x')) + data(1, std::string(6'384, 'y')) + reset(1, 1, 16'384));
}

TEST(Session, PositionsCountWhatIsShared) {
  SlabPool pool;
  auto end = opened();
  std::uint64_t before = end->session.position_sent();
  end->session.want(1);
  end->session.share(*end->session.next_quantum(), slice_of(pool, std::string(5'000, 'x')));
  end->session.fill_done(1, 0, false);
  EXPECT_EQ(end->session.position_sent() - before, kHeaderSize + 5'000);
}

TEST(Session, WhatIsSharedWithAStreamThatIsGoneIsNotSent) {
  SlabPool pool;
  auto end = opened();
  end->session.want(1);
  auto quantum = end->session.next_quantum();
  end->session.reset(1, StreamCode::LostRace);
  EXPECT_EQ(end->written(), reset(1, 12, 0));
  end->session.share(*quantum, slice_of(pool, "late"));
  end->session.fill_done(1, 0, true);
  EXPECT_TRUE(end->written().empty());
  EXPECT_FALSE(end->session.has_quanta());
}

// --- RESET ---

TEST(Session, ResetCarriesTheCodeAndWhatWasSent) {
  auto end = opened();
  end->send(1, "12345");
  end->written();
  end->session.reset(1, StreamCode::ClientReset);
  EXPECT_EQ(end->written(), reset(1, 1, 5));
  EXPECT_EQ(end->session.stream_count(), 0u);
}

TEST(Session, ResetComesAfterTheDataBeforeIt) {
  auto end = accepted();
  EXPECT_EQ(end->feed(data(1, "12345") + reset(1, 1, 5)), "data 1 12345; reset 1 client-reset");
  EXPECT_EQ(end->session.stream_count(), 0u);
}

TEST(Session, AFinalOffsetThatDiffersClosesTheLink) {
  for (std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{4}, std::uint64_t{6}, ~std::uint64_t{0}})
    EXPECT_EQ(accepted()->feed(data(1, "12345") + reset(1, 0, offset)), "data 1 12345; closed protocol-error")
        << offset;
}

TEST(Session, ResetIsAllowedAfterFin) {
  EXPECT_EQ(accepted()->feed(data(1, "all", true) + reset(1, 1, 3)), "data 1 all; finished 1; reset 1 client-reset");
}

TEST(Session, TheFinalOffsetCountsBytesThatWereDiscardedAfterStop) {
  auto end = accepted();
  end->session.stop(1, StreamCode::Cancelled);
  EXPECT_EQ(end->feed(data(1, "12345") + reset(1, 0, 5)), "reset 1 cancelled");
}

TEST(Session, AnUnknownCodeIsTreatedAsCancelled) {
  EXPECT_EQ(accepted()->feed(reset(1, 999, 0)), "reset 1 cancelled");
  EXPECT_EQ(accepted()->feed(stop(1, static_cast<std::uint16_t>(StreamCode::LinkLost))), "stopped 1 cancelled");
}

TEST(Session, EveryCodeOfTheTableArrives) {
  for (std::uint16_t code = 0; code < static_cast<std::uint16_t>(StreamCode::LinkLost); code++)
    EXPECT_EQ(accepted()->feed(reset(1, code, 0)), fmt::format("reset 1 {}", name_of(StreamCode{code})));
}

TEST(Session, ARefusalBeforeAcceptIsAReset) {
  auto end = segment();
  end->feed(open(1));
  end->session.reset(1, StreamCode::UnknownService);
  EXPECT_EQ(end->written(), reset(1, 3, 0));
  auto other = controller();
  other->session.open(kRequest, 11);
  EXPECT_EQ(other->feed(reset(1, 3, 0)), "reset 1 unknown-service");
}

TEST(Session, ResetInTheMiddleOfAFrameOfDataDropsTheRest) {
  auto end = accepted();
  Buffer bytes = data(1, "12345") + ping(7);
  end->feed(Bytes(bytes).first(14));
  end->session.reset(1, StreamCode::ServerReset);
  end->written();
  EXPECT_EQ(end->feed(Bytes(bytes).subspan(14)), "");
  EXPECT_EQ(end->written(), pong(7));
}

// --- STOP ---

TEST(Session, StopEndsOneDirection) {
  auto end = accepted();
  end->session.stop(1, StreamCode::ServerReset);
  EXPECT_EQ(end->written(), stop(1, 2));
  EXPECT_EQ(end->send(1, "reply"), 5u);
  EXPECT_EQ(end->session.stream_count(), 1u);
}

TEST(Session, WhatArrivesAfterOurStopIsDiscarded) {
  auto end = accepted();
  end->session.stop(1, StreamCode::Cancelled);
  EXPECT_EQ(end->feed(data(1, "under way") + fin(1)), "");
  EXPECT_EQ(end->session.stream_count(), 1u);
}

TEST(Session, AfterAStopNothingMoreIsSentNotEvenFin) {
  auto end = opened();
  EXPECT_EQ(end->feed(stop(1, 2)), "stopped 1 server-reset");
  EXPECT_EQ(end->send(1, "more"), 0u);
  end->session.finish(1);
  EXPECT_TRUE(end->written().empty());
  EXPECT_EQ(end->feed(data(1, "reply")), "data 1 reply");
}

TEST(Session, AStopThatCrossesFinIsIgnored) {
  auto end = opened();
  end->session.finish(1);
  EXPECT_EQ(end->feed(stop(1)), "");
  EXPECT_EQ(end->session.stream_count(), 1u);
}

TEST(Session, AStreamWhoseTurnItIsWhenAStopComesGetsNone) {
  auto end = opened();
  end->session.want(1);
  end->feed(stop(1));
  EXPECT_FALSE(end->session.next_quantum());
}

// --- The end of a stream ---

TEST(Session, AStreamIsOverWhenBothDirectionsAre) {
  enum class How { Fin, Stop };
  for (How sending : {How::Fin, How::Stop})
    for (How receiving : {How::Fin, How::Stop})
      for (bool sending_first : {true, false}) {
        auto end = accepted();
        auto end_sending = [&] { sending == How::Fin ? end->session.finish(1) : void(end->feed(stop(1))); };
        auto end_receiving = [&] {
          receiving == How::Stop ? end->session.stop(1, StreamCode::Cancelled) : void(end->feed(fin(1)));
        };
        sending_first ? end_sending() : end_receiving();
        EXPECT_EQ(end->session.stream_count(), 1u);
        sending_first ? end_receiving() : end_sending();
        EXPECT_EQ(end->session.stream_count(), 0u);
        EXPECT_FALSE(end->session.find(1));
      }
}

TEST(Session, WhatComesForAStreamThatIsOverIsIgnored) {
  auto end = accepted();
  end->session.reset(1, StreamCode::ServerReset);
  end->written();
  EXPECT_EQ(end->feed(data(1, "under way") + credit(1, 1'000'000) + stop(1) + fin(1) + reset(1, 0, 99)), "");
  EXPECT_TRUE(end->written().empty());
  auto other = opened();
  other->session.reset(1, StreamCode::ClientReset);
  EXPECT_EQ(other->feed(accept(1) + data(1, "late")), "");
}

TEST(Session, AFrameForAStreamThatWasNeverOpenedClosesTheLink) {
  for (const Buffer& stray : {data(2, "x"), data(2, ""), fin(2), credit(2, 1), reset(2, 0, 0), stop(2)}) {
    EXPECT_EQ(accepted()->feed(stray), "closed protocol-error");
    EXPECT_EQ(opened()->feed(stray), "closed protocol-error");
  }
  EXPECT_EQ(opened()->feed(accept(2)), "closed protocol-error");
}

TEST(Session, CommandsForAStreamThatIsOverChangeNothing) {
  auto end = accepted();
  end->session.reset(1, StreamCode::ServerReset);
  end->written();
  for (StreamId stream : {StreamId{1}, StreamId{2}, StreamId{0}}) {
    end->session.adopt(stream, 9);
    end->session.accept(stream);
    end->session.want(stream);
    end->session.fill_done(stream, 0, true);
    end->session.finish(stream);
    end->session.stop(stream, StreamCode::Cancelled);
    end->session.reset(stream, StreamCode::Cancelled);
    end->session.consumed(stream, 100, end->now);
  }
  EXPECT_TRUE(end->written().empty());
  EXPECT_FALSE(end->session.next_quantum());
}

TEST(Session, CommandsAfterTheEndOfTheSessionWriteNothing) {
  for (bool by_peer : {true, false}) {
    auto end = accepted();
    end->feed(repeat(data(1, zeros(50'000)), 4));
    if (by_peer)
      end->feed(close(10, "bye"));
    else
      end->session.close(LinkCode::Shutdown, "bye");
    end->written();
    end->session.consumed(1, 200'000, end->now);
    end->session.drain(end->now);
    end->session.release();
    end->session.finish(1);
    end->session.stop(1, StreamCode::Cancelled);
    end->session.reset(1, StreamCode::Cancelled);
    end->session.close(LinkCode::NoError, "again");
    end->session.on_time(end->now + std::chrono::hours(1));
    EXPECT_TRUE(end->written().empty());
    EXPECT_EQ(end->closed(), "shutdown: bye");
    EXPECT_EQ(end->session.next_deadline(), Time::max());
  }
}

TEST(Session, TheOwnersOfAllStreamsCanBeTold) {
  auto end = controller();
  for (OwnerId owner : {31, 32, 33}) end->session.open(kRequest, owner);
  end->session.reset(2, StreamCode::ClientReset);
  std::vector<OwnerId> owners;
  end->session.for_each_stream([&](StreamId, OwnerId owner) { owners.push_back(owner); });
  std::ranges::sort(owners);
  EXPECT_EQ(owners, (std::vector<OwnerId>{31, 33}));
}

TEST(Session, WhatArrivesAfterCloseIsIgnored) {
  auto end = accepted();
  EXPECT_EQ(end->feed(close(0, "done") + data(1, "x") + open(2)), "closed no-error");
  EXPECT_EQ(end->feed(data(1, "x")), "");
  EXPECT_TRUE(end->session.closed().by_peer);
}

// --- Positions ---

TEST(Session, PositionsCountTheReliableFrames) {
  auto end = segment();
  EXPECT_EQ(end->session.position_received(), 0u);
  Buffer reliable = open(1) + data(1, "12345") + credit(1, 1'000'000) + stop(1) + reset(1, 0, 5);
  Buffer others = ping(1) + pong(1) + ack(0);
  end->feed(reliable + others);
  EXPECT_EQ(end->session.position_received(), reliable.size());
}

TEST(Session, PositionsCountWhatIsSent) {
  auto end = accepted();
  std::uint64_t before = end->session.position_sent();
  end->send(1, "12345");
  end->session.finish(1);
  end->feed(ping(3));
  EXPECT_EQ(end->session.position_sent() - before, (data(1, "12345") + fin(1)).size());
}

TEST(Session, AnAckBeyondWhatWasSentClosesTheLink) {
  auto end = accepted();
  std::uint64_t sent = end->session.position_sent();
  EXPECT_EQ(end->feed(ack(sent) + ack(0) + ack(sent)), "");
  EXPECT_EQ(end->feed(ack(sent + 1)), "closed protocol-error");
}

TEST(Session, ResumeThatWasNotAgreedOnClosesTheLink) {
  EXPECT_EQ(accepted()->feed(frame(FrameType::Resume, 0, zeros(64))), "closed protocol-error");
  EXPECT_EQ(accepted()->feed(frame(FrameType::Resume, 0)), "closed frame-error");
}

// --- The order of writing ---

TEST(Session, StreamsThatWriteAllTheTimeTakeTurns) {
  auto end = controller(16 * 1024 * 1024);
  for (OwnerId owner : {1, 2, 3}) end->session.open(kRequest, owner);
  for (StreamId stream : {1, 2, 3}) end->session.want(stream);
  std::string order;
  for (int i = 0; i < 12; i++) {
    auto quantum = end->session.next_quantum();
    ASSERT_TRUE(quantum);
    order += std::to_string(quantum->stream);
    end->session.reserve(*quantum, quantum->bytes);
    end->session.fill_done(quantum->stream, std::min<std::size_t>(quantum->bytes, Scheduler::kQuantum), true);
  }
  EXPECT_EQ(order, "123123123123");
}

TEST(Session, ASmallRequestGoesBeforeALargeUpload) {
  auto end = controller(16 * 1024 * 1024);
  end->session.open(kRequest, 1);
  end->session.open(kRequest, 2);
  end->session.want(1);
  for (int i = 0; i < 3; i++) {
    auto quantum = end->session.next_quantum();
    end->session.reserve(*quantum, quantum->bytes);
    end->session.fill_done(1, quantum->bytes, true);
  }
  end->session.want(2);
  EXPECT_EQ(end->session.next_quantum()->stream, 2u);
}

TEST(Session, ATurnIsNeverBeyondTheCredit) {
  auto end = controller(16'384);
  end->session.open(kRequest, 1);
  end->session.want(1);
  auto quantum = end->session.next_quantum();
  EXPECT_EQ(quantum->bytes, 16'384u);
}

TEST(Session, AnOwnerThatHasNothingGetsNoMoreTurns) {
  auto end = opened();
  end->session.want(1);
  auto quantum = end->session.next_quantum();
  end->session.fill_done(quantum->stream, 0, false);
  EXPECT_FALSE(end->session.has_quanta());
  end->session.want(1);
  EXPECT_TRUE(end->session.has_quanta());
}

TEST(Session, WantingTwiceGivesOneTurn) {
  auto end = opened();
  end->session.want(1);
  end->session.want(1);
  EXPECT_TRUE(end->session.next_quantum());
  EXPECT_FALSE(end->session.next_quantum());
}

}  // namespace
}  // namespace cloudbus
