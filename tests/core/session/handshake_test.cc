// SPDX-License-Identifier: Apache-2.0
// The start of a link: doc/protocol.md, section 1.

#include <gtest/gtest.h>

#include "core/session/session_end.h"

namespace cloudbus {
namespace {

using namespace wire;
using std::chrono::milliseconds;
using std::chrono::seconds;

Buffer hello_of(SessionEnd& end, Role role) {
  Buffer written = end.written(), start = preface(role);
  EXPECT_TRUE(written.size() > start.size() && std::equal(start.begin(), start.end(), written.begin()));
  return {written.begin() + static_cast<std::ptrdiff_t>(start.size()), written.end()};
}

TEST(Handshake, TheControllerSpeaksAtOnce) {
  SessionEnd end(Role::Controller);
  Buffer hello = hello_of(end, Role::Controller);
  FrameHeader header = decode_header(hello.data());
  EXPECT_EQ(header.type, FrameType::Hello);
  auto decoded = std::get<Hello>(decode_hello(Bytes(hello).subspan(kHeaderSize)));
  EXPECT_EQ(decoded.initial_window, 256u * 1024);
  EXPECT_EQ(decoded.max_streams, 0u);
}

TEST(Handshake, TheSegmentSpeaksWhenItHasSeenThePreface) {
  SessionEnd end(Role::Segment);
  Buffer start = preface(Role::Controller);
  EXPECT_EQ(end.feed(Bytes(start).first(7)), "");
  EXPECT_TRUE(end.written().empty());
  EXPECT_EQ(end.feed(Bytes(start).subspan(7)), "");
  Buffer hello = hello_of(end, Role::Segment);
  auto decoded = std::get<Hello>(decode_hello(Bytes(hello).subspan(kHeaderSize)));
  EXPECT_EQ(decoded.max_streams, 32'768u);
}

TEST(Handshake, TheLimitsStandInTheHello) {
  SessionLimits limits;
  limits.initial_window = 20'000;
  limits.max_streams = 77;
  SessionEnd end(Role::Segment, limits);
  end.feed(preface(Role::Controller));
  Buffer hello = hello_of(end, Role::Segment);
  auto decoded = std::get<Hello>(decode_hello(Bytes(hello).subspan(kHeaderSize)));
  EXPECT_EQ(decoded.initial_window, 20'000u);
  EXPECT_EQ(decoded.max_streams, 77u);
}

TEST(Handshake, BothEndsAreReadyAfterTheHello) {
  for (Role role : {Role::Controller, Role::Segment}) {
    SessionEnd end(role);
    EXPECT_EQ(end.feed(end.peer_start(65'536, 9)), "ready");
    EXPECT_TRUE(end.session.is_established());
    EXPECT_EQ(end.session.peer_hello().initial_window, 65'536u);
  }
}

TEST(Handshake, APingMeasuresTheRoundTripFromTheStart) {
  SessionEnd end(Role::Segment);
  end.feed(preface(Role::Controller));
  end.written();
  end.feed(hello());
  EXPECT_EQ(end.written(), ping(1));
}

TEST(Handshake, AnyByteThatDiffersFromTheMagicEndsTheLink) {
  for (Role role : {Role::Controller, Role::Segment})
    for (std::size_t place = 0; place < 4; place++)
      for (unsigned value = 0; value < 256; value++) {
        Buffer bytes = preface(role == Role::Controller ? Role::Segment : Role::Controller);
        if (bytes[place] == static_cast<std::byte>(value)) continue;
        bytes[place] = static_cast<std::byte>(value);
        SessionEnd end(role);
        EXPECT_EQ(end.feed(Bytes(bytes).first(place + 1)), "closed protocol-error") << place << " " << value;
      }
}

TEST(Handshake, NothingIsSentBackToAStrayClient) {
  SessionEnd end(Role::Segment);
  EXPECT_EQ(end.feed(text("GET / HTTP/1.1\r\nHost: example\r\n\r\n")), "closed protocol-error");
  EXPECT_TRUE(end.written().empty());
  EXPECT_NE(end.closed().find("GET / HTTP/1.1"), std::string::npos);
}

TEST(Handshake, NothingIsSentBackToAStrayServer) {
  SessionEnd end(Role::Controller);
  end.written();
  EXPECT_EQ(end.feed(text("220 mail.example ESMTP\r\n")), "closed protocol-error");
  EXPECT_TRUE(end.written().empty());
}

TEST(Handshake, AControllerIsToldThatItMetAController) {
  SessionEnd end(Role::Controller);
  end.written();
  EXPECT_EQ(end.feed(preface(Role::Controller)), "closed wrong-role");
  EXPECT_EQ(end.written(), close(4, end.session.closed().error.reason));
  EXPECT_NE(end.closed().find("controller"), std::string::npos);
}

TEST(Handshake, ThePrefaceOfASegmentStandsBeforeItsClose) {
  SessionEnd same(Role::Segment), future(Role::Segment);
  EXPECT_EQ(same.feed(preface(Role::Segment)), "closed wrong-role");
  EXPECT_EQ(same.written(), preface(Role::Segment) + close(4, same.session.closed().error.reason));
  EXPECT_EQ(future.feed(preface(1, 2, 3)), "closed version");
  EXPECT_EQ(future.written(), preface(Role::Segment) + close(5, future.session.closed().error.reason));
}

TEST(Handshake, AnUnknownRoleIsAFrameError) {
  SessionEnd end(Role::Segment);
  EXPECT_EQ(end.feed(preface(9)), "closed frame-error");
}

TEST(Handshake, TheFirstFrameIsHello) {
  for (const Buffer& first :
       {ping(1), open(1), data(1, "x"), go_away(1), ack(0), max_streams(1), frame(FrameType::Resume, 0, zeros(64))}) {
    SessionEnd end(Role::Segment);
    EXPECT_EQ(end.feed(preface(Role::Controller) + first), "closed protocol-error");
  }
}

TEST(Handshake, TheFirstFrameMayBeClose) {
  SessionEnd end(Role::Controller);
  EXPECT_EQ(end.feed(preface(Role::Segment) + close(5, "too old")), "closed version");
  EXPECT_TRUE(end.session.closed().by_peer);
  EXPECT_EQ(end.closed(), "version: too old");
}

TEST(Handshake, HelloIsSentOnce) {
  auto end = SessionEnd::ready(Role::Segment);
  EXPECT_EQ(end->feed(hello()), "closed protocol-error");
}

TEST(Handshake, ABadHelloClosesWithItsCode) {
  SessionEnd small(Role::Segment), critical(Role::Segment), empty(Role::Segment);
  EXPECT_EQ(small.feed(preface(Role::Controller) + hello(16'383)), "closed frame-error");
  EXPECT_EQ(critical.feed(preface(Role::Controller) +
                          frame(FrameType::Hello, 0, hello_fields(20'000, 0) + field(kCritical | 99, {}))),
            "closed unsupported");
  EXPECT_EQ(empty.feed(preface(Role::Controller) + frame(FrameType::Hello, 0)), "closed frame-error");
}

TEST(Handshake, AHelloOfTheGreatestLengthIsTaken) {
  Buffer fields = hello_fields(20'000, 0);
  fields += field(99, zeros(1'024 - fields.size() - 4));
  SessionEnd end(Role::Segment);
  EXPECT_EQ(end.feed(preface(Role::Controller) + frame(FrameType::Hello, 0, fields)), "ready");
}

TEST(Handshake, WithoutAHelloTheLinkIsCutAfterFiveSeconds) {
  for (Role role : {Role::Controller, Role::Segment}) {
    SessionEnd end(role);
    Time start = end.now;
    EXPECT_EQ(end.session.next_deadline(), start + seconds(5));
    end.session.on_time(start + seconds(5) - Duration(1));
    EXPECT_FALSE(end.session.is_closed());
    end.session.on_time(start + seconds(5));
    EXPECT_EQ(end.code(), LinkCode::HandshakeTimeout);
    EXPECT_NE(end.session.closed().error.reason, "");
  }
}

TEST(Handshake, NothingIsSentToAClientThatSaysNothing) {
  SessionEnd end(Role::Segment);
  end.session.on_time(end.now + seconds(5));
  EXPECT_TRUE(end.session.is_closed());
  EXPECT_TRUE(end.written().empty());
}

TEST(Handshake, APeerThatStopsInItsHelloIsToldWhy) {
  SessionEnd end(Role::Segment);
  end.feed(preface(Role::Controller) + header(1, 0, 28, 0));
  end.written();
  end.session.on_time(end.now + seconds(5));
  EXPECT_EQ(end.written(), close(8, end.session.closed().error.reason));
}

TEST(Handshake, AHelloInTimeEndsTheTimeout) {
  SessionEnd end(Role::Segment);
  end.now += milliseconds(4'999);
  end.feed(end.peer_start());
  end.session.on_time(end.now + milliseconds(1));
  EXPECT_TRUE(end.session.is_established());
}

TEST(Handshake, NoStreamCanBeOpenedBeforeTheHello) {
  SessionEnd end(Role::Controller);
  EXPECT_FALSE(end.session.can_open());
  end.feed(preface(Role::Segment));
  EXPECT_FALSE(end.session.can_open());
  end.feed(hello());
  EXPECT_TRUE(end.session.can_open());
}

TEST(Handshake, AReasonIsCutToItsGreatestLength) {
  auto end = SessionEnd::ready(Role::Segment);
  end->session.close(LinkCode::Shutdown, std::string(1'000, 'x'));
  EXPECT_EQ(end->written(), close(10, std::string(256, 'x')));
}

}  // namespace
}  // namespace cloudbus
