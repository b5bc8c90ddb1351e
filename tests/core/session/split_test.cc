// SPDX-License-Identifier: Apache-2.0
// Any way to cut the same bytes, every header, and bytes that mean nothing.

#include <gtest/gtest.h>

#include <random>

#include "core/application.h"
#include "core/session/session_end.h"

namespace cloudbus {
namespace {

using namespace wire;

// A conversation with every frame that a segment takes, to its CLOSE.
Buffer to_segment() {
  Buffer fields = hello_fields(20'000, 0) + field(3, zeros(16)) + field(4, text("recorded")) + field(500, text("?"));
  return preface(Role::Controller) + frame(FrameType::Hello, 0, fields) + ping(5) + pong(1) + open(1, "first") +
         data(1, "early data") + open(2, "second") + credit(1, 30'000) + data(2, "", false) +
         data(1, "the rest", true) + stop(1, 2) + max_streams(4) + data(2, std::string(3'000, 'x')) +
         reset(2, 1, 3'000) + open(7, "") + data(7, "y") + fin(7) + ack(0) + data(2, "late") + go_away(kNoMoreStreams) +
         ping(6) + go_away(0) + reset(7, 3, 1) + close(10, "done");
}

// The same for a controller that has opened three streams.
Buffer to_controller() {
  return preface(Role::Segment) + hello(20'000, 3) + pong(1) + ping(9) + accept(1) + data(1, "speaks first") +
         accept(2) + credit(2, 40'000) + stop(2, 2) + data(1, "and ends", true) + reset(3, 3, 0) +
         data(2, std::string(2'000, 'z'), true) + max_streams(10) + go_away(kNoMoreStreams) + ack(0) + go_away(3) +
         close(0, "drained");
}

struct Outcome {
  std::string events;
  Buffer written;
  std::uint64_t position;
  bool operator==(const Outcome&) const = default;
};

std::vector<Bytes> cut_at(Bytes bytes, const std::vector<std::size_t>& places) {
  std::vector<Bytes> pieces;
  std::size_t begin = 0;
  for (std::size_t place : places) {
    pieces.push_back(bytes.subspan(begin, place - begin));
    begin = place;
  }
  pieces.push_back(bytes.subspan(begin));
  return pieces;
}

// A controller opens its streams once it is ready, wherever the cut.
Outcome run(Role role, Bytes bytes, std::vector<std::size_t> places) {
  SessionEnd end(role);
  std::string events;
  if (role == Role::Controller) {
    std::size_t start = (preface(Role::Segment) + hello(20'000, 3)).size();
    std::vector<std::size_t> before, after;
    for (std::size_t place : places)
      (place <= start ? before : after).push_back(place <= start ? place : place - start);
    events = end.feed_in_pieces(cut_at(bytes.first(start), before)) + "; ";
    for (OwnerId owner : {1, 2, 3}) end.session.open({{}, 0, "echo", ""}, owner);
    bytes = bytes.subspan(start);
    places = after;
  }
  events += end.feed_in_pieces(cut_at(bytes, places));
  return {events, end.written(), end.session.position_received()};
}

constexpr Role kRoles[] = {Role::Controller, Role::Segment};
Buffer recorded(Role role) { return role == Role::Controller ? to_controller() : to_segment(); }

TEST(Split, TheRecordedConversationsMeanWhatTheyShould) {
  std::string x(3'000, 'x'), z(2'000, 'z');
  EXPECT_EQ(run(Role::Segment, to_segment(), {}).events,
            "ready; opened 1 first; data 1 early data; opened 2 second; data 1 the rest; finished 1; stopped 1 "
            "server-reset; data 2 " +
                x +
                "; reset 2 client-reset; opened 7 ; data 7 y; finished 7; going-away; reset 7 unknown-service; closed "
                "shutdown");
  EXPECT_EQ(run(Role::Controller, to_controller(), {}).events,
            "ready; accepted 1; data 1 speaks first; accepted 2; stopped 2 server-reset; data 1 and ends; finished 1; "
            "reset 3 "
            "unknown-service; data 2 " +
                z + "; finished 2; more-streams; going-away; closed no-error");
}

TEST(Split, AtEveryByteItMeansTheSame) {
  for (Role role : kRoles) {
    Buffer bytes = recorded(role);
    Outcome whole = run(role, bytes, {});
    for (std::size_t place = 0; place <= bytes.size(); place++) ASSERT_EQ(run(role, bytes, {place}), whole) << place;
  }
}

TEST(Split, ByteByByteItMeansTheSame) {
  for (Role role : kRoles) {
    Buffer bytes = recorded(role);
    std::vector<std::size_t> everywhere(bytes.size());
    for (std::size_t i = 0; i < everywhere.size(); i++) everywhere[i] = i;
    EXPECT_EQ(run(role, bytes, everywhere), run(role, bytes, {}));
  }
}

TEST(Split, InAnyPiecesItMeansTheSame) {
  std::mt19937 random(1);
  for (Role role : kRoles) {
    Buffer bytes = recorded(role);
    Outcome whole = run(role, bytes, {});
    for (int i = 0; i < 2'000; i++) {
      std::vector<std::size_t> places(1 + random() % 40);
      for (auto& place : places) place = random() % (bytes.size() + 1);
      std::ranges::sort(places);
      ASSERT_EQ(run(role, bytes, places), whole) << i;
    }
  }
}

// A link that ends at any byte leaves no event that was not complete.
TEST(Split, WhatIsMissingAtTheEndAddsNothing) {
  for (Role role : kRoles) {
    Buffer bytes = recorded(role);
    std::string whole = run(role, bytes, {}).events;
    for (std::size_t size = bytes.size(); size-- > 60;)
      ASSERT_TRUE(whole.starts_with(run(role, Bytes(bytes).first(size), {}).events)) << size;
  }
}

// --- Every header ---

// What a header alone does to a session with streams 1, 2 and 3 open, of which 3 is over.
std::unique_ptr<SessionEnd> busy(Role role) {
  auto end = SessionEnd::ready(role);
  for (StreamId id : {1, 2, 3}) {
    if (role == Role::Segment) {
      end->feed(open(id));
      end->session.accept(id);
    } else {
      end->session.open({{}, 0, "echo", ""}, id);
      end->feed(accept(id));
    }
  }
  end->session.reset(3, StreamCode::Cancelled);
  end->written();
  return end;
}

TEST(EveryHeader, ThatDoesNotFitTheTableIsAFrameError) {
  for (Role role : kRoles) {
    auto end = busy(role);
    for (unsigned type = 0; type < 256; type++)
      for (unsigned length : {0u, 1u, 2u, 8u, 10u, 22u, 256u, 258u, 1'024u, 1'025u, 65'535u})
        for (unsigned flags : {0u, 1u, 2u, 255u})
          for (StreamId stream : {StreamId{0}, StreamId{1}, StreamId{3}, ~StreamId{0}}) {
            FrameHeader parsed{FrameType(type), std::uint8_t(flags), std::uint16_t(length), stream};
            if (end->session.is_closed()) end = busy(role);
            end->feed(header(type, flags, length, stream));
            bool refused = end->session.is_closed() && end->code() == LinkCode::FrameError;
            bool has_reason = type == 6 && length > 10;  // which was not agreed on
            ASSERT_EQ(refused, header_error(parsed) != nullptr || has_reason)
                << type << " " << length << " " << flags << " " << stream;
            if (!refused) end = busy(role);
          }
  }
}

TEST(EveryHeader, WithEveryLengthEndsOrWaitsForItsPayloadOnly) {
  for (Role role : kRoles)
    for (unsigned type = 0; type <= 14; type++) {
      auto end = busy(role);
      StreamId stream = type >= 2 && type <= 7 ? (type == 2 ? 9 : 1) : 0;
      bool data = type == 4;
      for (unsigned length = 0; length <= 65'535; length += length < 1'100 && !data ? 1 : 1'285) {
        FrameHeader parsed{FrameType(type), 0, std::uint16_t(length), stream};
        bool fits = header_error(parsed) == nullptr;
        if (end->session.is_closed() || fits) end = busy(role);
        end->feed(header(type, 0, length, stream) + (fits ? zeros(length) : Buffer()));
        ASSERT_TRUE(fits || end->code() == LinkCode::FrameError) << type << " " << length;
      }
    }
}

TEST(EveryHeader, BeforeTheHelloOpensNothing) {
  for (unsigned type = 0; type < 256; type++)
    for (unsigned length : {0u, 2u, 8u, 10u, 22u, 28u, 1'024u, 65'535u})
      for (StreamId stream : {StreamId{0}, StreamId{1}}) {
        Application application(Role::Segment);
        application.receive(preface(Role::Controller) + header(type, 0, length, stream) + zeros(length));
        ASSERT_EQ(application.opened(), 0u);
        ASSERT_TRUE(application.session().is_closed()) << type << " " << length;
      }
}

// --- Garbage ---

TEST(Garbage, InsteadOfAPrefaceEndsTheLinkAndOpensNothing) {
  std::mt19937 random(1);
  for (int i = 0; i < 20'000; i++) {
    Buffer bytes(1 + random() % 100);
    for (auto& byte : bytes) byte = static_cast<std::byte>(random());
    if (bytes[0] == kMagic[0]) continue;
    SessionEnd end(Role::Segment);
    ASSERT_EQ(end.feed(bytes), "closed protocol-error");
    ASSERT_TRUE(end.written().empty());
  }
}

TEST(Garbage, AfterAPrefaceOpensNothing) {
  std::mt19937 random(2);
  for (int i = 0; i < 20'000; i++) {
    Buffer bytes(1 + random() % 100);
    for (auto& byte : bytes) byte = static_cast<std::byte>(random() % 3 == 0 ? 1 : random());
    Application application(Role::Segment);
    application.receive(preface(Role::Controller) + bytes);
    ASSERT_EQ(application.opened(), 0u);
  }
}

TEST(Garbage, AfterAHelloEndsTheLinkWithAReason) {
  std::mt19937 random(3);
  for (Role role : kRoles) {
    for (int i = 0; i < 5'000; i++) {
      auto end = SessionEnd::ready(role);
      Buffer bytes(200);
      for (auto& byte : bytes) byte = static_cast<std::byte>(random());
      bytes[0] |= std::byte{0x10};  // no type of the table
      ASSERT_EQ(end->feed(bytes), "closed frame-error");
      ASSERT_NE(end->session.closed().error.reason, "");
    }
  }
}

// Valid conversations with bytes changed, dropped, doubled or moved. Application checks what it is told.
TEST(Garbage, MutationsOfAConversationNeverBreakASession) {
  std::mt19937 random(4);
  for (Role role : kRoles) {
    Buffer recorded_bytes = recorded(role);
    for (int i = 0; i < 20'000; i++) {
      Buffer bytes = recorded_bytes;
      for (unsigned change = 0; change <= random() % 4; change++) {
        std::size_t place = random() % bytes.size(),
                    length = std::min<std::size_t>(random() % 30, bytes.size() - place);
        auto at = bytes.begin() + static_cast<std::ptrdiff_t>(place), end = at + static_cast<std::ptrdiff_t>(length);
        Buffer part(at, end);
        switch (random() % 4) {
          case 0: *at = static_cast<std::byte>(random()); break;
          case 1: *at ^= std::byte{1} << random() % 8; break;
          case 2: bytes.erase(at, end); break;
          case 3:
            bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(random() % bytes.size()), part.begin(),
                         part.end());
            break;
        }
        if (bytes.empty()) bytes.push_back(std::byte{0});
      }
      Application application(role);
      for (Bytes piece : cut_at(bytes, {random() % bytes.size()})) {
        application.receive(piece);
        application.pass_time(Duration(random() % 1'000'000));
      }
    }
  }
}

}  // namespace
}  // namespace cloudbus
