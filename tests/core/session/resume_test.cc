// SPDX-License-Identifier: Apache-2.0
// A session on another link: doc/protocol.md, section 9.

#include <gtest/gtest.h>

#include "core/session/resuming_pair.h"
#include "core/session/session_end.h"

namespace cloudbus {
namespace {

using namespace wire;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Script = ResumingPair::Script;
using Plan = ResumingPair::Plan;

constexpr auto kNoCut = ResumingPair::kNoCut;

// From one cut to the next. There is one thread here, and for its sanitizer some of them are enough.
#ifdef __SANITIZE_THREAD__
constexpr std::uint64_t kStep = 7;
#else
constexpr std::uint64_t kStep = 1;
#endif

// Two whole conversations, one that is longer than a window each way, a reset and a stop.
std::vector<std::pair<Script, Script>> scripts(std::uint64_t longest) {
  return {{{.to_send = 300}, {.to_send = 500}},
          {{.to_send = longest}, {.to_send = longest}},
          {{.to_send = 900, .reset_after = 400}, {.to_send = 100}},
          {{.to_send = 200}, {.to_send = 5'000, .stop_after = kNoCut}},
          {{.to_send = 700, .stop_after = 150}, {.to_send = 600}},
          {{.to_send = 0}, {.to_send = 0}}};
}

// Empty when every byte arrived as it should, else what is wrong.
std::string outcome(const std::vector<Plan>& plans, std::uint64_t longest = 1'500, std::size_t chunk = 600) {
  ResumingPair pair(scripts(longest), chunk);
  try {
    pair.run(plans);
  } catch (const std::exception& wrong) {
    return wrong.what();
  }
  return "";
}

TEST(Resume, WithoutACutNothingIsResumed) {
  ResumingPair pair(scripts(50'000));
  pair.run({});
  EXPECT_EQ(pair.resumed(), 0u);
  EXPECT_GT(pair.delivered(0), 50'000u);
  EXPECT_GT(pair.delivered(1), 50'000u);
}

TEST(Resume, ACutAfterAnyByteToTheSegmentLosesNothing) {
  for (bool notices : {true, false})
    for (std::uint64_t cut = 0; cut < 5'000; cut += kStep)
      ASSERT_EQ(outcome({{.cut_to_segment = cut, .segment_notices = notices}}), "") << "cut at " << cut;
}

TEST(Resume, ACutAfterAnyByteToTheControllerLosesNothing) {
  for (bool notices : {true, false})
    for (std::uint64_t cut = 0; cut < 9'000; cut += kStep)
      ASSERT_EQ(outcome({{.cut_to_controller = cut, .segment_notices = notices}}), "") << "cut at " << cut;
}

TEST(Resume, ACutWithinMoreThanAWindowLosesNothing) {
  for (std::uint64_t cut = 0; cut < 60'000; cut += 61 * kStep) {
    ASSERT_EQ(outcome({{.cut_to_controller = cut}}, 50'000, 1'700), "") << "cut at " << cut;
    ASSERT_EQ(outcome({{.cut_to_segment = cut}}, 50'000, 1'700), "") << "cut at " << cut;
  }
}

TEST(Resume, ACutAtAnyByteOfTheNextLinkLosesNothing) {
  for (std::uint64_t first : {150u, 157u, 163u, 400u, 700u, 1'111u, 2'000u})
    for (std::uint64_t second = 0; second < 700; second += kStep)
      for (bool notices : {true, false}) {
        Plan begin{.cut_to_controller = first + 200, .cut_to_segment = first, .segment_notices = notices};
        ASSERT_EQ(outcome({begin, {.cut_to_segment = second, .segment_notices = notices}}), "")
            << "cut at " << first << " and " << second;
        ASSERT_EQ(outcome({begin, {.cut_to_controller = second, .segment_notices = notices}}), "")
            << "cut at " << first << " and " << second;
      }
}

TEST(Resume, ManyCutsInARowLoseNothing) {
  for (std::uint64_t part = 230; part < 900; part += 7) {
    std::vector<Plan> plans;
    for (std::uint64_t i = 0; i < 40; i++)
      plans.push_back({.cut_to_controller = part + i * 13 % 97,
                       .cut_to_segment = part + i * 29 % 89,
                       .segment_notices = i % 3 != 0});
    ASSERT_EQ(outcome(plans, 5'000), "") << "every " << part;
  }
}

// --- One end, and bytes by hand ----------------------------------------------------------------------------------

Hello hello_with_offer(Role role, std::uint32_t wait_ms = 30'000) {
  Hello hello;
  hello.resume.emplace().wait_ms = wait_ms;
  if (role == Role::Segment) {
    hello.session.emplace().id.back() = std::byte{7};
    hello.session->secret.back() = std::byte{9};
  }
  return hello;
}

// Ready, with a peer that would resume and keeps `window` bytes.
std::unique_ptr<SessionEnd> ready(Role role, std::uint64_t window = 1024 * 1024,
                                  std::uint64_t memory = SessionEnd::kMemory, Duration round_trip = {},
                                  const SessionLimits& limits = {}) {
  auto end = std::make_unique<SessionEnd>(role, limits, memory, hello_with_offer(role));
  Buffer fields = hello_fields(256 * 1024, role == Role::Controller ? 100 : 0) + offer(20'000, window);
  if (role == Role::Controller) fields += session_key(7, 9);
  Role other = role == Role::Controller ? Role::Segment : Role::Controller;
  EXPECT_EQ(end->feed(preface(other) + frame(FrameType::Hello, 0, fields)), "ready");
  end->now += round_trip;
  EXPECT_EQ(end->feed(pong(1)), "");
  end->written();
  return end;
}

Buffer resume(std::uint64_t epoch, std::uint64_t position, Role role, const Secret& secret, unsigned session = 7) {
  ResumeClaim claim{.role = role, .epoch = epoch, .position = position};
  claim.session.back() = static_cast<std::byte>(session);
  Proof proof = prove(claim, secret);
  return frame(FrameType::Resume, 0,
               u64(0) + u64(session) + u64(epoch) + u64(position) + Buffer(proof.begin(), proof.end()));
}

Secret secret_of(unsigned value) {
  Secret secret{};
  secret.back() = static_cast<std::byte>(value);
  return secret;
}

TEST(Resume, BothEndsMustOfferIt) {
  EXPECT_TRUE(ready(Role::Controller)->session.is_resumable());
  EXPECT_TRUE(ready(Role::Segment)->session.is_resumable());
  EXPECT_FALSE(SessionEnd::ready(Role::Controller)->session.is_resumable());
  for (std::uint32_t own : {0u, 5'000u}) {
    SessionEnd end(Role::Segment, {}, SessionEnd::kMemory, hello_with_offer(Role::Segment, own));
    end.feed(preface(Role::Controller) + frame(FrameType::Hello, 0, hello_fields(20'000, 0) + offer(own ? 0 : 5'000)));
    EXPECT_TRUE(end.session.is_established());
    EXPECT_FALSE(end.session.is_resumable());
  }
}

TEST(Resume, BothEndsWaitForTheShorterTime) { EXPECT_EQ(ready(Role::Segment)->session.resume_wait(), seconds(20)); }

TEST(Resume, WhatWasWrittenIsKeptUntilItIsAcknowledged) {
  auto end = ready(Role::Controller);
  end->session.open({}, 1);
  end->feed(accept(1));
  end->send(1, std::string(1'000, 'x'));
  auto sent = end->session.position_sent();
  EXPECT_EQ(end->session.output().kept(), 0u);
  end->written();
  EXPECT_EQ(end->session.output().kept(), sent);
  end->session.on_written(end->now);
  EXPECT_EQ(end->budget.kept(), sent);
  EXPECT_EQ(end->budget.buffered(), 0u);
  EXPECT_EQ(end->feed(ack(100)), "");
  EXPECT_EQ(end->session.output().kept(), sent - 100);
  EXPECT_EQ(end->feed(ack(sent)), "");
  EXPECT_EQ(end->session.output().kept(), 0u);
  EXPECT_EQ(end->budget.kept(), 0u);
}

TEST(Resume, NothingIsKeptWhereItWasNotAgreedOn) {
  auto end = SessionEnd::ready(Role::Controller);
  end->session.open({}, 1);
  end->written();
  EXPECT_EQ(end->session.output().kept(), 0u);
}

TEST(Resume, AnAckOfWhatWasNotWrittenIsAnError) {
  auto end = ready(Role::Controller);
  end->session.open({}, 1);
  EXPECT_EQ(end->feed(ack(1)), "closed protocol-error");
}

TEST(Resume, WhenWhatIsKeptFillsTheWindowNobodyHasATurn) {
  auto end = ready(Role::Controller, 1024 * 1024, 16 * 1024 * 1024);  // it keeps 1 MiB
  end->session.open({}, 1);
  end->feed(accept(1) + credit(1, 64 * 1024 * 1024));
  std::size_t total = 0;
  for (int i = 0; i < 100; i++, end->written()) total += end->send(1, std::string(100'000, 'x'));
  EXPECT_GE(total, 1024u * 1024);
  EXPECT_LE(total, 1024u * 1024 + Scheduler::kQuantum);
  EXPECT_FALSE(end->session.next_quantum());
  EXPECT_FALSE(end->session.has_quanta());
  EXPECT_EQ(end->feed(ack(end->session.position_sent())), "");
  EXPECT_GT(end->send(1, std::string(100'000, 'x')), 0u);
}

TEST(Resume, TheShorterTheWayTheLessIsKept) {
  struct {
    Duration round_trip;
    std::size_t most;
  } cases[] = {{microseconds(100), 2 << 20},
               {milliseconds(1), 2 << 20},
               {milliseconds(4), 8'192'000},
               {milliseconds(100), 32 << 20}};
  for (auto [round_trip, most] : cases) {
    auto end = ready(Role::Controller, 64 * 1024 * 1024, 1024 * 1024 * 1024, round_trip);
    end->session.open({}, 1);
    end->feed(accept(1) + credit(1, 64 * 1024 * 1024));
    std::size_t total = 0;
    for (int i = 0; i < 500; i++, end->written()) total += end->send(1, std::string(100'000, 'x'));
    EXPECT_GE(total + 64 * 1024, most) << round_trip.count();
    EXPECT_LE(total, most + Scheduler::kQuantum) << round_trip.count();
  }
}

TEST(Resume, WithMuchKeptEverywhereASessionKeepsLittle) {
  auto end = ready(Role::Controller, 64 * 1024 * 1024, 512 * 1024 * 1024);
  end->session.open({}, 1);
  end->feed(accept(1) + credit(1, 64 * 1024 * 1024));
  end->budget.keep(129 * 1024 * 1024);  // by others
  std::size_t total = 0;
  for (int i = 0; i < 100; i++, end->written()) total += end->send(1, std::string(100'000, 'x'));
  EXPECT_GE(total, 1024u * 1024);
  EXPECT_LE(total, 1024u * 1024 + Scheduler::kQuantum);
  end->budget.unkeep(129 * 1024 * 1024);
  EXPECT_TRUE(end->session.has_quanta());
}

TEST(Resume, ReliableBytesAreAcknowledgedEveryQuarterOfTheWindowThatThePeerHas) {
  auto end = ready(Role::Segment, 64 * 1024);
  end->feed(open(1));
  EXPECT_EQ(end->written().size(), 0u);
  end->feed(data(1, std::string(16 * 1024, 'x')));
  EXPECT_EQ(end->written(), ack(end->session.position_received()));
}

TEST(Resume, TheRestIsAcknowledgedAfterASecond) {
  auto end = ready(Role::Segment);
  end->feed(open(1));
  end->feed(ping(3));
  end->written();
  EXPECT_EQ(end->session.next_deadline(), end->now + seconds(1));
  end->now += seconds(1);
  end->session.on_time(end->now);
  EXPECT_EQ(end->written(), ack(end->session.position_received()));
  EXPECT_GT(end->session.next_deadline(), end->now + seconds(2));
}

TEST(Resume, APeerThatAcknowledgesNoAnswerIsAFlood) {
  SessionLimits limits;
  limits.max_unwritten = 100'000;
  auto end = ready(Role::Segment, 1024 * 1024, 16 * 1024 * 1024, {}, limits);  // it keeps 1 MiB
  for (StreamId id = 1; id < 1'000'000 && !end->session.is_closed(); id++) {
    if (!end->feed(open(id, "none")).starts_with("opened")) break;
    end->session.reset(id, StreamCode::UnknownService);
    end->session.release();
    end->written();
  }
  EXPECT_EQ(end->code(), LinkCode::Flood);
  EXPECT_EQ(end->session.closed().error.reason, "the peer asks for answers and acknowledges none");
  EXPECT_LT(end->session.output().kept(), 1024u * 1024 + 200'000);
}

// MAX_STREAMS is all that is answered, and seldom.
TEST(Resume, StreamsThatAreOverAtOnceLeaveLittleToAcknowledge) {
  auto end = ready(Role::Segment, 1024 * 1024, 16 * 1024 * 1024);
  for (StreamId id = 1; id < 100'000 && !end->session.is_closed(); id++) {
    end->feed(open(id) + reset(id, 0, 0));
    end->session.release();
    if (id % 1'000 == 0) end->now += seconds(10);
    end->written();
  }
  EXPECT_FALSE(end->session.is_closed());
  EXPECT_LT(end->session.output().kept(), 1'000u);
}

TEST(Resume, ASilentLinkIsLostAndTheSessionIsNot) {
  auto end = ready(Role::Controller);
  end->now += seconds(5);
  end->session.on_time(end->now);
  EXPECT_FALSE(end->session.is_silent());
  end->now += seconds(5);
  end->session.on_time(end->now);
  EXPECT_TRUE(end->session.is_silent());
  EXPECT_FALSE(end->session.is_closed());
  end->session.detach();
  EXPECT_TRUE(end->session.is_detached());
  EXPECT_EQ(end->session.next_deadline(), Time::max());
}

TEST(Resume, CommandsAreTakenWhileThereIsNoLink) {
  auto end = ready(Role::Controller);
  end->session.open({}, 1);
  end->feed(accept(1));
  end->written();
  auto before = end->session.position_sent();
  end->session.detach();
  EXPECT_FALSE(end->session.can_open());
  end->session.want(1);
  EXPECT_FALSE(end->session.next_quantum());
  end->session.finish(1);
  end->session.attach(before, {}, end->now);
  EXPECT_EQ(end->written(), fin(1) + ping(2));
}

TEST(Resume, FramesThatAreNotReliableAreNotWrittenAgain) {
  auto end = ready(Role::Controller);
  end->session.open({}, 1);
  end->feed(ping(5));  // its answer waits to be written
  end->session.detach();
  auto position = end->session.position_sent();
  end->session.attach(0, {}, end->now);
  Buffer written = end->written();
  EXPECT_EQ(written.size(), position + ping(2).size());
  EXPECT_EQ(written[0], std::byte{2});  // OPEN
}

TEST(Resume, WhatThePeerHasIsNotWrittenAgain) {
  auto end = ready(Role::Controller);
  end->session.open({}, 1);
  end->feed(accept(1));
  end->send(1, "one ");
  Buffer all = end->written();
  end->send(1, "two");
  Buffer rest = end->written();
  all += rest;
  for (std::size_t has = 0; has <= all.size(); has++) {
    end->session.detach();
    // The peer's position never goes back, so that this counts up.
    end->session.attach(has, as_bytes("opening "), end->now);
    Buffer written = end->written();
    Buffer expected = text("opening ") + Buffer(all.begin() + static_cast<std::ptrdiff_t>(has), all.end());
    ASSERT_TRUE(written.size() > expected.size() && std::equal(expected.begin(), expected.end(), written.begin()))
        << has;
  }
}

TEST(Resume, AGapClosesTheSession) {
  auto end = ready(Role::Controller);
  end->session.open({}, 1);
  end->written();
  end->feed(ack(20));
  end->session.detach();
  end->session.attach(19, {}, end->now);
  EXPECT_EQ(end->code(), LinkCode::ProtocolError);
}

TEST(Resume, APositionBeyondWhatWasWrittenClosesTheSession) {
  auto end = ready(Role::Controller);
  end->session.open({}, 1);
  end->written();
  end->session.stop(1, StreamCode::Cancelled);  // not written
  end->session.detach();
  end->session.attach(end->session.position_sent(), {}, end->now);
  EXPECT_EQ(end->code(), LinkCode::ProtocolError);
}

TEST(Resume, TheSegmentIsAskedOnce) {
  auto end = ready(Role::Segment);
  EXPECT_EQ(end->feed(resume(1, 0, Role::Controller, secret_of(9), 5)), "resume-asked");
  auto late = ready(Role::Segment);
  late->feed(open(1));
  EXPECT_EQ(late->feed(resume(1, 0, Role::Controller, secret_of(9), 5)), "closed protocol-error");
}

TEST(Resume, ALinkThatAskedAndGetsNoAnswerIsClosed) {
  auto end = ready(Role::Controller), lost = ready(Role::Controller);
  lost->session.detach();
  end->session.ask_resume(lost->session);
  end->now += seconds(5);
  end->session.on_time(end->now);
  EXPECT_EQ(end->code(), LinkCode::HandshakeTimeout);
}

TEST(Resume, TheAnswerMustBeProven) {
  auto asked = [] {
    auto end = ready(Role::Controller), lost = ready(Role::Controller);
    lost->session.detach();
    end->session.ask_resume(lost->session);
    end->written();
    return end;
  };
  EXPECT_EQ(asked()->feed(resume(1, 0, Role::Segment, secret_of(9))), "resumed");
  EXPECT_EQ(asked()->feed(resume(1, 0, Role::Segment, secret_of(8))), "closed protocol-error");
  EXPECT_EQ(asked()->feed(resume(1, 0, Role::Controller, secret_of(9))), "closed protocol-error") << "reflected";
  EXPECT_EQ(asked()->feed(resume(2, 0, Role::Segment, secret_of(9))), "closed protocol-error");
  EXPECT_EQ(asked()->feed(resume(1, 0, Role::Segment, secret_of(9), 6)), "closed protocol-error");
  EXPECT_EQ(ready(Role::Controller)->feed(resume(1, 0, Role::Segment, secret_of(9))), "closed protocol-error");
}

TEST(Resume, WhatTheSegmentWroteBeforeItWasAskedIsIgnored) {
  auto end = ready(Role::Controller), lost = ready(Role::Controller);
  lost->session.detach();
  end->session.ask_resume(lost->session);
  EXPECT_EQ(end->feed(go_away(kNoMoreStreams) + max_streams(500) + ack(0) + ping(9) +
                      resume(1, 0, Role::Segment, secret_of(9))),
            "resumed");
  EXPECT_FALSE(end->session.peer_going_away());
}

TEST(Resume, EachClaimIsAcceptedOnce) {
  auto end = ready(Role::Segment);
  ResumeClaim claim{.role = Role::Controller, .epoch = 2};
  EXPECT_FALSE(end->session.accept_resume(claim)) << "its old link is still there";
  end->session.detach();
  EXPECT_TRUE(end->session.accept_resume(claim));
  EXPECT_FALSE(end->session.accept_resume(claim));
  claim.epoch = 1;
  EXPECT_FALSE(end->session.accept_resume(claim));
  claim.epoch = 9;
  EXPECT_TRUE(end->session.accept_resume(claim));
}

TEST(Resume, EveryLinkMayBePinged) {
  auto end = ready(Role::Segment);
  for (int i = 0; i < 1'000; i++) {
    EXPECT_EQ(end->feed(ping(7)), "");
    end->session.detach();
    end->session.attach(0, {}, end->now);
  }
}

TEST(Resume, ADrainGoesOnOnTheNextLink) {
  auto end = ready(Role::Segment);
  end->feed(open(1));
  end->session.detach();
  end->session.drain(end->now);
  end->session.attach(0, {}, end->now);
  EXPECT_EQ(end->written(), go_away(kNoMoreStreams) + ping(2));
  end->feed(pong(2));
  EXPECT_EQ(end->written(), go_away(1));
}

TEST(Resume, TheStreamsOfASessionWithoutALinkCanBeReset) {
  auto end = ready(Role::Segment);
  end->feed(open(1));
  end->session.detach();
  end->session.reset(1, StreamCode::ResumeTimeout);
  EXPECT_EQ(end->session.stream_count(), 0u);
  end->session.attach(0, {}, end->now);
  EXPECT_EQ(end->written(), reset(1, 16, 0) + ping(2));
}

}  // namespace
}  // namespace cloudbus
