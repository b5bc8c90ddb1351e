// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/wire/hello.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/wire.h"

namespace cloudbus {
namespace {

using namespace wire;

std::string hello_error(const Buffer& fields) {
  auto decoded = decode_hello(fields);
  auto* error = std::get_if<LinkError>(&decoded);
  return error ? std::string(name_of(error->code)) + ": " + error->reason : "";
}

std::string open_error(const Buffer& payload) {
  auto decoded = decode_open(payload);
  auto* error = std::get_if<LinkError>(&decoded);
  return error ? std::string(name_of(error->code)) + ": " + error->reason : "";
}

std::string preface_code(const Buffer& bytes, Role own_role) {
  auto error = preface_error(bytes.data(), own_role);
  return error ? std::string(name_of(error->code)) : "";
}

TEST(Preface, IsTheEightBytesOfTheText) {
  auto bytes = encode(Preface{.role = Role::Segment});
  EXPECT_EQ(Buffer(bytes.begin(), bytes.end()), integer(0xF343421A01010200, 8));
}

TEST(Preface, TheOtherRoleIsWelcome) {
  EXPECT_EQ(preface_code(preface(Role::Segment), Role::Controller), "");
  EXPECT_EQ(preface_code(preface(Role::Controller), Role::Segment), "");
}

TEST(Preface, TheSameRoleIsWrongAndTheReasonSaysSo) {
  EXPECT_EQ(preface_code(preface(Role::Segment), Role::Segment), "wrong-role");
  auto error = preface_error(preface(Role::Controller).data(), Role::Controller);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, LinkCode::WrongRole);
  EXPECT_NE(error->reason.find("a controller cannot talk to a controller"), std::string::npos);
}

TEST(Preface, VersionsMustMeet) {
  EXPECT_EQ(preface_code(preface(1, 1, 9), Role::Segment), "");
  EXPECT_EQ(preface_code(preface(1, 0, 1), Role::Segment), "");
  EXPECT_EQ(preface_code(preface(1, 2, 9), Role::Segment), "version");
  EXPECT_EQ(preface_code(preface(1, 0, 0), Role::Segment), "version");
  EXPECT_EQ(preface_code(preface(1, 2, 1), Role::Segment), "version");
}

TEST(Preface, AnUnknownRoleIsAnError) {
  for (unsigned role : {0u, 3u, 255u}) EXPECT_EQ(preface_code(preface(role), Role::Segment), "frame-error");
}

TEST(Preface, TheReservedByteIsIgnored) {
  auto bytes = preface(Role::Controller);
  bytes[7] = std::byte{255};
  EXPECT_EQ(preface_code(bytes, Role::Segment), "");
}

TEST(Hello, ReadsBackAsItWasWritten) {
  Hello hello{.initial_window = 65'536, .max_streams = 1'000, .software = "cloudbus 0.1"};
  hello.boot_id[15] = std::byte{9};
  auto decoded = std::get<Hello>(decode_hello(encode(hello)));
  EXPECT_EQ(decoded.initial_window, 65'536u);
  EXPECT_EQ(decoded.max_streams, 1'000u);
  EXPECT_EQ(decoded.boot_id, hello.boot_id);
  EXPECT_EQ(decoded.software, "cloudbus 0.1");
}

TEST(Hello, TheTwoRequiredFieldsAreEnough) {
  auto decoded = std::get<Hello>(decode_hello(hello_fields(16'384, 7)));
  EXPECT_EQ(decoded.initial_window, 16'384u);
  EXPECT_EQ(decoded.max_streams, 7u);
}

TEST(Hello, EachRequiredFieldMustBeThere) {
  EXPECT_EQ(hello_error({}), "frame-error: HELLO lacks a required field");
  EXPECT_EQ(hello_error(field(0x8001, u32(16'384))), "frame-error: HELLO lacks a required field");
  EXPECT_EQ(hello_error(field(0x8002, u64(1))), "frame-error: HELLO lacks a required field");
}

TEST(Hello, TheInitialWindowHasBounds) {
  EXPECT_EQ(hello_error(hello_fields(16'384, 1)), "");
  EXPECT_EQ(hello_error(hello_fields(16'777'216, 1)), "");
  EXPECT_EQ(hello_error(hello_fields(16'383, 1)), "frame-error: initial-window out of range");
  EXPECT_EQ(hello_error(hello_fields(16'777'217, 1)), "frame-error: initial-window out of range");
}

TEST(Hello, EveryFieldHasTheLengthOfTheTable) {
  for (std::size_t length = 0; length <= 70; length++) {
    Buffer value = zeros(length);
    EXPECT_EQ(hello_error(field(0x8001, length == 4 ? u32(20'000) : value) + field(0x8002, u64(1))).empty(),
              length == 4);
    EXPECT_EQ(hello_error(field(0x8001, u32(20'000)) + field(0x8002, value)).empty(), length == 8);
    EXPECT_EQ(hello_error(hello_fields(20'000, 1) + field(3, value)).empty(), length == 16);
    EXPECT_EQ(hello_error(hello_fields(20'000, 1) + field(4, value)).empty(), length >= 1 && length <= 64);
  }
}

TEST(Hello, AnUnknownFieldIsSkippedUnlessItIsCritical) {
  EXPECT_EQ(hello_error(field(99, text("?")) + hello_fields(20'000, 1) + field(0x7FFF, {})), "");
  EXPECT_EQ(hello_error(hello_fields(20'000, 1) + field(kCritical | 99, {})), "unsupported: unknown critical field 99");
}

TEST(Hello, TheFieldsOfResumingReadBackAsTheyWereWritten) {
  Hello hello;
  hello.max_streams = 1;
  hello.session.emplace().id[0] = std::byte{1};
  hello.session->secret[31] = std::byte{2};
  hello.resume.emplace(ResumeOffer{.wait_ms = 30'000, .window = 65'536}).nonce[15] = std::byte{3};
  auto decoded = std::get<Hello>(decode_hello(encode(hello)));
  EXPECT_EQ(decoded.session->id, hello.session->id);
  EXPECT_EQ(decoded.session->secret, hello.session->secret);
  EXPECT_EQ(decoded.resume->wait_ms, 30'000u);
  EXPECT_EQ(decoded.resume->window, 65'536u);
  EXPECT_EQ(decoded.resume->nonce, hello.resume->nonce);
  EXPECT_LE(encode(hello).size(), kMaxHello);
}

TEST(Hello, TheFieldsOfResumingHaveTheirLengths) {
  for (std::size_t length = 0; length <= 70; length++) {
    Buffer value = zeros(length), start = hello_fields(20'000, 1);
    EXPECT_EQ(hello_error(start + field(5, value) + field(6, zeros(32))).empty(), length == 16);
    EXPECT_EQ(hello_error(start + field(5, zeros(16)) + field(6, value)).empty(), length == 32);
    if (length >= 8) std::ranges::copy(u32(16'384), value.begin() + 4);
    EXPECT_EQ(hello_error(start + field(7, value)).empty(), length == 24);
  }
  EXPECT_EQ(hello_error(hello_fields(20'000, 1) + offer(1, 16'383)), "frame-error: the window of resume is too small");
  EXPECT_EQ(hello_error(hello_fields(20'000, 1) + field(5, zeros(16))),
            "frame-error: session-id and session-secret come together");
}

TEST(Hello, ThatReasonsAreTakenReadsBack) {
  Hello hello;
  EXPECT_FALSE(std::get<Hello>(decode_hello(encode(hello))).takes_reasons);
  hello.takes_reasons = true;
  EXPECT_TRUE(std::get<Hello>(decode_hello(encode(hello))).takes_reasons);
}

TEST(Hello, AFieldThatAppearsTwiceIsAnError) {
  EXPECT_EQ(hello_error(hello_fields(20'000, 1) + field(0x8001, u32(20'000))),
            "frame-error: a field of HELLO appears twice");
  EXPECT_EQ(hello_error(hello_fields(20'000, 1) + field(99, {}) + field(99, {})),
            "frame-error: a field of HELLO appears twice");
}

TEST(Hello, AFieldThatIsLongerThanWhatHoldsItIsAnError) {
  Buffer fields = hello_fields(20'000, 1) + field(99, text("abc"));
  for (std::size_t cut = 1; cut < 7; cut++)
    EXPECT_EQ(hello_error(Buffer(fields.begin(), fields.end() - static_cast<std::ptrdiff_t>(cut))),
              "frame-error: a field of HELLO does not fit");
  EXPECT_EQ(hello_error(hello_fields(20'000, 1) + u16(99) + u16(65'535)), "frame-error: a field of HELLO does not fit");
}

TEST(Open, ReadsBackAsItWasWritten) {
  OpenRequest request{{}, -128, std::string(255, 's'), "[2001:db8::1]:443"};
  request.conversation[0] = std::byte{1};
  auto decoded = std::get<OpenRequest>(decode_open(encode(request)));
  EXPECT_EQ(decoded.conversation, request.conversation);
  EXPECT_EQ(decoded.priority, -128);
  EXPECT_EQ(decoded.service, request.service);
  EXPECT_EQ(decoded.client, request.client);
}

TEST(Open, ItsFieldsReadBackAsTheyWereWritten) {
  OpenRequest request{{}, 0, "db", "unix:"};
  request.retry = true;
  request.client_process = ProcessId{4711, 0xEFFFFFFC};
  request.client_ends.size = ConnectionEnds::kIpv6;
  request.client_ends.bytes.back() = std::byte{7};
  auto decoded = std::get<OpenRequest>(decode_open(encode(request)));
  EXPECT_TRUE(decoded.retry);
  EXPECT_EQ(decoded.client_process, request.client_process);
  EXPECT_EQ(decoded.client_ends.size, ConnectionEnds::kIpv6);
  EXPECT_EQ(decoded.client_ends.bytes, request.client_ends.bytes);
  EXPECT_FALSE(std::get<OpenRequest>(decode_open(open_payload())).retry);
}

TEST(Open, ItsFieldsHaveTheirLengths) {
  for (std::size_t length = 0; length <= 40; length++) {
    EXPECT_EQ(open_error(open_payload() + field(1, zeros(length))).empty(), length == 0) << length;
    EXPECT_EQ(open_error(open_payload() + field(2, zeros(length))).empty(), length == 12) << length;
    EXPECT_EQ(open_error(open_payload() + field(3, zeros(length))).empty(), length == 12 || length == 36) << length;
  }
}

TEST(Open, IsLaidOutAsInTheText) {
  OpenRequest request{{}, 1, "db", "unix:"};
  request.conversation.fill(std::byte{0xAB});
  Buffer expected = Buffer(16, std::byte{0xAB}) + u8(1) + u8(0) + u16(2) + text("db") + u16(5) + text("unix:");
  EXPECT_EQ(encode(request), expected);
}

TEST(Open, BothNamesMayBeEmpty) {
  EXPECT_EQ(open_error(open_payload("", "")), "");
  EXPECT_EQ(open_payload("", "").size(), kMinOpen);
}

TEST(Open, ANameIsAtMost255Bytes) {
  EXPECT_EQ(open_error(open_payload(std::string(255, 'x'), std::string(255, 'y'))), "");
  EXPECT_EQ(open_error(open_payload(std::string(256, 'x'), "")), "frame-error: a name in OPEN does not fit");
  EXPECT_EQ(open_error(open_payload("", std::string(256, 'x'))), "frame-error: a name in OPEN does not fit");
}

TEST(Open, ANameThatIsLongerThanItsFrameIsAnError) {
  Buffer whole = open_payload("service", "client");
  for (std::size_t size = 0; size < whole.size(); size++)
    EXPECT_EQ(open_error(Buffer(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))).substr(0, 11),
              "frame-error")
        << size;
}

TEST(Open, UnknownFieldsAreSkippedUnlessTheyAreCritical) {
  EXPECT_EQ(open_error(open_payload() + field(98, text("x")) + field(99, {})), "");
  EXPECT_EQ(open_error(open_payload() + field(kCritical | 9, {})), "unsupported: unknown critical field 9");
  EXPECT_EQ(open_error(open_payload() + text("abc")), "frame-error: a field does not fit its frame");
}

TEST(Fields, AFieldThatAppearsTwiceIsAnError) {
  auto error = fields_error(field(1, {}) + field(2, {}) + field(1, text("x")));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, LinkCode::FrameError);
}

TEST(Fields, NoneIsFine) { EXPECT_FALSE(fields_error({})); }

}  // namespace
}  // namespace cloudbus
