// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/session/scheduler.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "cloudbus/core/session/output.h"

namespace cloudbus {
namespace {

TEST(Scheduler, AnEmptyOneHasNoTurn) {
  Scheduler scheduler;
  EXPECT_TRUE(scheduler.empty());
  EXPECT_FALSE(scheduler.next());
}

TEST(Scheduler, OneAloneMayFillEverything) {
  Scheduler scheduler;
  Scheduler::Share share;
  scheduler.start(1, share);
  auto quantum = scheduler.next();
  ASSERT_TRUE(quantum);
  EXPECT_EQ(quantum->stream, 1u);
  EXPECT_EQ(quantum->bytes, Output::kMaxFill);
  EXPECT_TRUE(scheduler.empty());
}

// Streams 1, 2, … that always have something to send, and send what `take` says of their turn.
class Busy {
 public:
  Busy(Scheduler& scheduler, std::vector<std::int8_t> priorities) : scheduler_(scheduler) {
    for (StreamId stream = 1; stream <= priorities.size(); stream++) {
      shares_[stream] = {.priority = priorities[stream - 1]};
      scheduler.go_on(stream, shares_[stream]);
    }
  }

  template <typename Take>
  void run(int turns, Take take) {
    for (int i = 0; i < turns; i++) {
      auto quantum = scheduler_.next();
      ASSERT_TRUE(quantum);
      std::size_t bytes = take(*quantum);
      served_[quantum->stream]++;
      sent_[quantum->stream] += bytes;
      shares_[quantum->stream].position += bytes;
      scheduler_.go_on(quantum->stream, shares_[quantum->stream]);
    }
  }

  int turns_of(StreamId stream) { return served_[stream]; }
  std::size_t sent_by(StreamId stream) { return sent_[stream]; }
  Scheduler::Share& share_of(StreamId stream) { return shares_[stream]; }

 private:
  Scheduler& scheduler_;
  std::map<StreamId, Scheduler::Share> shares_;
  std::map<StreamId, int> served_;
  std::map<StreamId, std::size_t> sent_;
};

constexpr auto kAll = [](const Scheduler::Quantum& quantum) { return quantum.bytes; };

TEST(Scheduler, TheBusyOnesTakeTurnsOfBoundedSize) {
  Scheduler scheduler;
  Busy busy(scheduler, {0, 0, 0});
  for (StreamId expected : {1, 2, 3, 1, 2, 3})
    busy.run(1, [&](const Scheduler::Quantum& quantum) {
      EXPECT_EQ(quantum.stream, expected);
      EXPECT_EQ(quantum.bytes, Scheduler::kQuantum);
      return quantum.bytes;
    });
}

TEST(Scheduler, BusyOnesShareByBytesNotByTurns) {
  Scheduler scheduler;
  Busy busy(scheduler, {0, 0, 0});
  busy.run(3000,
           [](const Scheduler::Quantum& quantum) { return quantum.stream == 2 ? quantum.bytes / 5 : quantum.bytes; });
  EXPECT_NEAR(static_cast<double>(busy.sent_by(2)), static_cast<double>(busy.sent_by(1)), 2 * Scheduler::kQuantum);
  EXPECT_NEAR(static_cast<double>(busy.sent_by(3)), static_cast<double>(busy.sent_by(1)), 2 * Scheduler::kQuantum);
}

TEST(Scheduler, AQuietOneGoesBeforeTheBusyWithFewBytes) {
  Scheduler scheduler;
  Busy busy(scheduler, {0, 0});
  Scheduler::Share sparse;
  scheduler.start(3, sparse);
  auto quantum = scheduler.next();
  EXPECT_EQ(quantum->stream, 3u);
  EXPECT_EQ(quantum->bytes, Scheduler::kSparseQuantum);
}

TEST(Scheduler, OneThatPausesOftenGetsNoMoreThanTheOthers) {
  Scheduler scheduler;
  Busy busy(scheduler, {0, 0});
  Scheduler::Share pausing;
  std::size_t sent = 0;
  scheduler.start(3, pausing);
  for (int i = 0; i < 3000; i++) {
    auto quantum = scheduler.next();
    ASSERT_TRUE(quantum);
    if (quantum->stream == 3) {
      sent += quantum->bytes;
      pausing.position += quantum->bytes;
      scheduler.start(3, pausing);
    } else {
      busy.share_of(quantum->stream).position += quantum->bytes;
      scheduler.go_on(quantum->stream, busy.share_of(quantum->stream));
    }
  }
  EXPECT_NEAR(static_cast<double>(sent), static_cast<double>(busy.share_of(1).position), 2 * Scheduler::kQuantum);
}

TEST(Scheduler, NobodySavesUpTurnsInAPause) {
  Scheduler scheduler;
  Busy busy(scheduler, {0, 0});
  busy.run(1000, kAll);
  Scheduler::Share late;
  scheduler.start(3, late);
  EXPECT_NEAR(static_cast<double>(late.position), static_cast<double>(busy.share_of(1).position),
              2 * Scheduler::kQuantum);
}

TEST(Scheduler, ABusyOneIsNotStarvedByOnesThatAreQuietInBetween) {
  Scheduler scheduler;
  Busy busy(scheduler, {0});
  int turns_of_the_busy_one = 0;
  for (StreamId stream = 2; stream < 1000; stream++) {
    Scheduler::Share sparse;
    scheduler.start(stream, sparse);
    if (scheduler.next()->stream != 1) continue;
    turns_of_the_busy_one++;
    scheduler.go_on(1, busy.share_of(1));
  }
  EXPECT_GE(turns_of_the_busy_one, 1000 / (Scheduler::kMostSparse + 1) - 1);
}

TEST(Scheduler, QuietOnesKeepTheirOrder) {
  Scheduler scheduler;
  Scheduler::Share shares[7];
  for (StreamId stream : {5, 4, 6}) scheduler.start(stream, shares[stream]);
  for (StreamId expected : {5, 4, 6}) EXPECT_EQ(scheduler.next()->stream, expected);
}

TEST(Scheduler, TheFirstPriorityHasTheTurnsButForSome) {
  Scheduler scheduler;
  Busy busy(scheduler, {-128, 0, 127});
  constexpr int kRounds = 100, kRound = Scheduler::kMostUrgent + 1;
  busy.run(kRounds * kRound, kAll);
  EXPECT_EQ(busy.turns_of(1), kRounds * Scheduler::kMostUrgent);
  EXPECT_EQ(busy.turns_of(2), kRounds / 2);
  EXPECT_EQ(busy.turns_of(3), kRounds / 2);
}

TEST(Scheduler, AQuietOneOfALaterPriorityWaitsForTheBusyOfAnEarlierOne) {
  Scheduler scheduler;
  Scheduler::Share later{.priority = 5};
  scheduler.start(1, later);
  scheduler.go_on(2, {.priority = 4});
  EXPECT_EQ(scheduler.next()->stream, 2u);
  EXPECT_EQ(scheduler.next()->stream, 1u);
  EXPECT_TRUE(scheduler.empty());
}

TEST(Scheduler, NoTurnIsGivenAwayWhileNobodyElseWaits) {
  Scheduler scheduler;
  for (int i = 0; i < 5 * Scheduler::kMostUrgent; i++) {
    scheduler.go_on(1, {.priority = 3});
    EXPECT_EQ(scheduler.next()->bytes, Output::kMaxFill);
  }
  scheduler.go_on(1, {.priority = 3});
  scheduler.go_on(2, {.priority = 4});
  EXPECT_EQ(scheduler.next()->stream, 1u);
}

TEST(Scheduler, ManySparseStreamsComeInTheirOrderHoweverTheyComeAndGo) {
  Scheduler scheduler;
  std::vector<Scheduler::Share> shares(1000);
  StreamId next_in = 0, next_out = 0;
  for (int round = 0; round < 50; round++) {
    for (int i = 0; i < 7 + round % 13 && next_in < shares.size(); i++, next_in++)
      scheduler.start(next_in, shares[next_in]);
    for (int i = 0; i < 5 + round % 17 && !scheduler.empty(); i++) ASSERT_EQ(scheduler.next()->stream, next_out++);
  }
  while (!scheduler.empty()) ASSERT_EQ(scheduler.next()->stream, next_out++);
  EXPECT_EQ(next_out, next_in);
}

}  // namespace
}  // namespace cloudbus
