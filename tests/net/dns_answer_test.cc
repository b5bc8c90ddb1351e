// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/dns_answer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/wire.h"

namespace cloudbus {
namespace {

using std::chrono::seconds;
using wire::Buffer;
using wire::u16;
using wire::u32;
using wire::u8;

enum Type : unsigned { kA = 1, kNs = 2, kCname = 5, kSoa = 6, kAaaa = 28, kSrv = 33, kNaptr = 35 };
enum Code : unsigned { kNoError = 0, kServFail = 2, kNameError = 3 };

constexpr unsigned kAnswer = 0x8180;     // with recursion desired and available
constexpr unsigned kQuestionPlace = 12;  // where the name that was asked for stands

Buffer string(std::string_view value) { return u8(value.size()) + wire::text(value); }

// "a.b" as labels; "" and "." are the root.
Buffer name(std::string_view dotted) {
  Buffer out;
  if (dotted == ".") dotted = "";
  while (!dotted.empty()) {
    std::size_t dot = std::min(dotted.find('.'), dotted.size());
    out += string(dotted.substr(0, dot));
    dotted.remove_prefix(std::min(dot + 1, dotted.size()));
  }
  return out + u8(0);
}
Buffer pointer(std::size_t place) { return u16(0xC000 | place); }

Buffer record(const Buffer& owner, unsigned type, std::uint32_t ttl, const Buffer& data) {
  return owner + u16(type) + u16(1) + u32(ttl) + u16(data.size()) + data;
}
const Buffer kAsked = pointer(kQuestionPlace);

Buffer srv(unsigned priority, unsigned weight, unsigned port, const Buffer& target) {
  return u16(priority) + u16(weight) + u16(port) + target;
}
Buffer naptr(unsigned order, unsigned preference, std::string_view flags, std::string_view services,
             std::string_view regexp, const Buffer& replacement) {
  return u16(order) + u16(preference) + string(flags) + string(services) + string(regexp) + replacement;
}
Buffer soa(std::uint32_t ttl, std::uint32_t minimum) {
  return record(name("example"), kSoa, ttl,
                name("ns.example") + name("root.example") + u32(1) + u32(2) + u32(3) + u32(4) + u32(minimum));
}

using Records = std::vector<Buffer>;

Buffer joined(const Records& records) {
  Buffer out;
  for (const Buffer& one : records) out += one;
  return out;
}

// An answer to a question for `asked`.
Buffer message(unsigned type, const Records& answers, const Records& authorities = {}, unsigned flags = kAnswer,
               std::string_view asked = "_orders._tcp.example") {
  return u16(0x1234) + u16(flags) + u16(1) + u16(answers.size()) + u16(authorities.size()) + u16(0) + name(asked) +
         u16(type) + u16(1) + joined(answers) + joined(authorities);
}
Buffer srv_message(const Records& answers, const Records& authorities = {}, unsigned flags = kAnswer) {
  return message(kSrv, answers, authorities, flags);
}

Buffer one_srv() { return record(kAsked, kSrv, 60, srv(1, 2, 9000, name("a.example"))); }

DnsRecords<SrvRecord> records_in(const Buffer& bytes) {
  auto answer = parse_srv_answer(bytes);
  auto* records = std::get_if<DnsRecords<SrvRecord>>(&answer);
  if (auto* failure = std::get_if<DnsFailure>(&answer)) ADD_FAILURE() << failure->reason;
  EXPECT_TRUE(records);
  return records ? *records : DnsRecords<SrvRecord>();
}

DnsAbsence absence_in(const Buffer& bytes) {
  auto answer = parse_srv_answer(bytes);
  auto* absence = std::get_if<DnsAbsence>(&answer);
  if (auto* failure = std::get_if<DnsFailure>(&answer)) ADD_FAILURE() << failure->reason;
  EXPECT_TRUE(absence);
  return absence ? *absence : DnsAbsence();
}

// The reason, or nothing if it is no failure.
std::string failure_in(const Buffer& bytes) {
  auto answer = parse_srv_answer(bytes);
  auto* failure = std::get_if<DnsFailure>(&answer);
  return failure ? failure->reason : "";
}

constexpr const char* kMalformed = "the answer is malformed";
constexpr const char* kNoEnd = "the aliases in the answer have no end";

TEST(DnsAnswer, SrvRecordsHaveTheirFieldsAndTtls) {
  auto found = records_in(srv_message({record(kAsked, kSrv, 60, srv(1, 2, 9000, name("A.Example"))),
                                       record(kAsked, kSrv, 30, srv(65535, 0, 0, name(".")))}));
  ASSERT_EQ(found.records.size(), 2u);
  EXPECT_EQ(found.records[0], (SrvRecord{1, 2, 9000, "a.example", seconds(60)}));
  EXPECT_EQ(found.records[1], (SrvRecord{65535, 0, 0, ".", seconds(30)}));
  EXPECT_EQ(found.ttl, seconds(30));
}

TEST(DnsAnswer, NaptrRecordsHaveTheirFieldsAndTtls) {
  auto answer = parse_naptr_answer(message(
      kNaptr, {record(kAsked, kNaptr, 5, naptr(100, 10, "", "", "!^urn:bus:(.*)$!\\1.example!i", name("."))),
               record(kAsked, kNaptr, 6, naptr(200, 65535, "S", "bus+tcp", "", name("_Orders._tcp.example")))}));
  auto* found = std::get_if<DnsRecords<NaptrRecord>>(&answer);
  ASSERT_TRUE(found);
  ASSERT_EQ(found->records.size(), 2u);
  EXPECT_EQ(found->records[0], (NaptrRecord{100, 10, "", "", "!^urn:bus:(.*)$!\\1.example!i", ".", seconds(5)}));
  EXPECT_EQ(found->records[1], (NaptrRecord{200, 65535, "S", "bus+tcp", "", "_orders._tcp.example", seconds(6)}));
  EXPECT_EQ(found->ttl, seconds(5));
}

TEST(DnsAnswer, NamesMayBeCompressedWhereverTheyStand) {
  auto found =
      records_in(srv_message({record(kAsked, kSrv, 60, srv(0, 0, 1, string("a") + pointer(kQuestionPlace + 13))),
                              record(name("_ORDERS._TCP.EXAMPLE"), kSrv, 60, srv(0, 0, 2, kAsked))}));
  ASSERT_EQ(found.records.size(), 2u);
  EXPECT_EQ(found.records[0].target, "a.example");
  EXPECT_EQ(found.records[1].target, "_orders._tcp.example");
}

TEST(DnsAnswer, FiftyRecordsAreFifty) {
  Records many;
  for (unsigned i = 0; i < 50; i++) many.push_back(record(kAsked, kSrv, 60, srv(0, 1, 9000 + i, name("a.example"))));
  EXPECT_EQ(records_in(srv_message(many)).records.size(), 50u);
}

TEST(DnsAnswer, OtherRecordsAreLeftOut) {
  Buffer other_class = record(kAsked, kSrv, 1, srv(0, 0, 3, name("c.example")));
  other_class[kAsked.size() + 3] = std::byte{3};  // CHAOS
  auto found = records_in(srv_message({record(kAsked, kA, 1, u32(0)), one_srv(), other_class,
                                       record(name("other.example"), kSrv, 1, srv(0, 0, 2, name("b.example")))}));
  ASSERT_EQ(found.records.size(), 1u);
  EXPECT_EQ(found.records[0].target, "a.example");
  EXPECT_EQ(found.ttl, seconds(60));
}

TEST(DnsAnswer, Rfc2181Section8TakesATtlWithTheSignBitAsZero) {
  auto found = records_in(srv_message({record(kAsked, kSrv, 0x80000000, srv(0, 0, 1, name("a"))),
                                       record(kAsked, kSrv, 0x7FFFFFFF, srv(0, 0, 1, name("b")))}));
  EXPECT_EQ(found.records.at(0).ttl, Duration(0));
  EXPECT_EQ(found.records.at(1).ttl, seconds(0x7FFFFFFF));
}

TEST(DnsAnswer, AliasesAreFollowedInAnyOrderAndShortenTheTtl) {
  auto found = records_in(srv_message({record(name("c.example"), kSrv, 60, srv(0, 0, 1, name("host"))),
                                       record(name("b.example"), kCname, 40, name("C.example")),
                                       record(name("c.example"), kSrv, 10, srv(0, 0, 2, name("host"))),
                                       record(kAsked, kCname, 50, name("b.example"))}));
  ASSERT_EQ(found.records.size(), 2u);
  EXPECT_EQ(found.records[0].ttl, seconds(40));
  EXPECT_EQ(found.records[1].ttl, seconds(10));
  EXPECT_EQ(found.ttl, seconds(10));
}

TEST(DnsAnswer, SixteenAliasesAreTheMost) {
  Records aliases = {record(kAsked, kCname, 60, name("a1"))};
  for (int i = 1; i < 16; i++) {
    aliases.push_back(record(name("a" + std::to_string(i)), kCname, 60, name("a" + std::to_string(i + 1))));
  }
  Records with_end = aliases;
  with_end.push_back(record(name("a16"), kSrv, 60, srv(0, 0, 1, name("host"))));
  EXPECT_EQ(records_in(srv_message(with_end)).records.size(), 1u);
  aliases.push_back(record(name("a16"), kCname, 60, name("a17")));
  aliases.push_back(record(name("a17"), kSrv, 60, srv(0, 0, 1, name("host"))));
  EXPECT_EQ(failure_in(srv_message(aliases)), kNoEnd);
}

TEST(DnsAnswer, AliasesThatGoInACircleAreAFailure) {
  EXPECT_EQ(failure_in(srv_message({record(kAsked, kCname, 60, kAsked)})), kNoEnd);
  EXPECT_EQ(failure_in(srv_message({record(kAsked, kCname, 60, name("a")), record(name("a"), kCname, 60, kAsked)})),
            kNoEnd);
}

TEST(DnsAnswer, Rfc2308Section2_1NameErrorHasTheTtlOfItsSoa) {
  DnsAbsence absence = absence_in(srv_message({}, {soa(300, 60)}, kAnswer | kNameError));
  EXPECT_FALSE(absence.has_name);
  EXPECT_EQ(absence.ttl, seconds(60));
  EXPECT_EQ(absence_in(srv_message({}, {soa(30, 60)}, kAnswer | kNameError)).ttl, seconds(30));
}

TEST(DnsAnswer, Rfc2308Section2_1NameErrorMayBeThatOfAnAlias) {
  Records alias = {record(kAsked, kCname, 20, name("gone.example"))};
  DnsAbsence absence = absence_in(srv_message(alias, {soa(300, 60)}, kAnswer | kNameError));
  EXPECT_FALSE(absence.has_name);
  EXPECT_EQ(absence.ttl, seconds(20));
}

TEST(DnsAnswer, Rfc2308Section2_2NoDataHasASoaOrNoNsRecords) {
  Buffer ns = record(name("example"), kNs, 60, name("ns.example"));
  for (const Records& authorities : {Records{ns, soa(300, 60)}, Records{soa(300, 60)}}) {
    DnsAbsence absence = absence_in(srv_message({}, authorities));
    EXPECT_TRUE(absence.has_name);
    EXPECT_EQ(absence.ttl, seconds(60));
  }
  DnsAbsence absence = absence_in(srv_message({}));
  EXPECT_TRUE(absence.has_name);
  EXPECT_EQ(absence.ttl, Duration(0));
  EXPECT_EQ(failure_in(srv_message({}, {ns})), "the server refers to other servers");
}

TEST(DnsAnswer, NoDataMayBeThatOfAnAlias) {
  DnsAbsence absence = absence_in(srv_message({record(kAsked, kCname, 20, name("a.example"))}, {soa(300, 60)}));
  EXPECT_TRUE(absence.has_name);
  EXPECT_EQ(absence.ttl, seconds(20));
}

TEST(DnsAnswer, Rfc2308Section5NameErrorWithoutASoaIsNotKept) {
  EXPECT_EQ(absence_in(srv_message({}, {}, kAnswer | kNameError)).ttl, Duration(0));
}

TEST(DnsAnswer, OtherResponseCodesAreFailures) {
  EXPECT_EQ(failure_in(srv_message({}, {}, kAnswer | 1)), "FORMERR");
  EXPECT_EQ(failure_in(srv_message({one_srv()}, {}, kAnswer | kServFail)), "SERVFAIL");
  EXPECT_EQ(failure_in(srv_message({}, {}, kAnswer | 4)), "NOTIMP");
  EXPECT_EQ(failure_in(srv_message({}, {}, kAnswer | 5)), "REFUSED");
  EXPECT_EQ(failure_in(srv_message({}, {}, kAnswer | 15)), "RCODE 15");
}

TEST(DnsAnswer, ATruncatedAnswerIsAFailure) {
  EXPECT_EQ(failure_in(srv_message({one_srv()}, {}, kAnswer | 0x0200)), "the answer is truncated");
}

TEST(DnsAnswer, OnlyAnAnswerToTheQuestionIsOne) {
  EXPECT_EQ(failure_in(srv_message({one_srv()}, {}, 0x0100)), "what came is no answer") << "a query";
  EXPECT_EQ(failure_in(srv_message({one_srv()}, {}, kAnswer | 0x2800)), "what came is no answer") << "an update";
  EXPECT_EQ(failure_in(message(kNaptr, {one_srv()})), "the answer is to another question");
  Buffer two_questions = srv_message({one_srv()});
  two_questions[5] = std::byte{2};
  EXPECT_EQ(failure_in(two_questions), "the answer is to another question");
}

TEST(DnsAnswer, BytesThatAreNoTextAreEscaped) {
  Buffer target = string("a.") + string("c\\d") + string(std::string_view("e \0\xFF\x7F", 5)) + string("F") + u8(0);
  auto found = records_in(srv_message({record(kAsked, kSrv, 60, srv(0, 0, 1, target))}));
  EXPECT_EQ(found.records.at(0).target, "a\\046.c\\092d.e\\032\\000\\255\\127.f");
}

TEST(DnsAnswer, ANameHas255BytesAtMost) {
  Buffer label = string(std::string(63, 'a')), three = label + label + label;
  auto with = [](const Buffer& target) { return srv_message({record(kAsked, kSrv, 60, srv(0, 0, 1, target))}); };
  EXPECT_EQ(records_in(with(three + string(std::string(61, 'b')) + u8(0))).records.at(0).target.size(), 253u);
  EXPECT_EQ(failure_in(with(three + string(std::string(62, 'b')) + u8(0))), kMalformed);
  EXPECT_EQ(failure_in(with(u8(64) + wire::text(std::string(64, 'a')) + u8(0))), kMalformed);
  EXPECT_EQ(failure_in(with(u8(0x80) + wire::zeros(200))), kMalformed);
}

TEST(DnsAnswer, PointersThatGoInACircleAreMalformed) {
  Buffer bytes = srv_message({one_srv()});
  const std::size_t place = bytes.size();
  auto with_target = [&](const Buffer& target, const Buffer& behind) {
    return srv_message({record(kAsked, kSrv, 60, srv(0, 0, 1, target))}) + behind;
  };
  const std::size_t target_place = place - name("a.example").size();
  EXPECT_EQ(failure_in(with_target(pointer(target_place), {})), kMalformed) << "to itself";
  EXPECT_EQ(failure_in(with_target(string("a") + pointer(target_place), {})), kMalformed) << "with a label";
  EXPECT_EQ(failure_in(with_target(pointer(target_place + 2), pointer(target_place))), kMalformed) << "to and fro";
  EXPECT_EQ(failure_in(with_target(pointer(0x3FFF), {})), kMalformed) << "to nowhere";
}

TEST(DnsAnswer, ManyPointersInARowAreMalformed) {
  auto with_pointers = [](std::size_t count) {
    const std::size_t place = srv_message({record(kAsked, kSrv, 60, srv(0, 0, 1, pointer(0)))}).size();
    Buffer chain;
    for (std::size_t i = 1; i < count; i++) chain += pointer(place + 2 * i);
    chain += name("a");
    return srv_message({record(kAsked, kSrv, 60, srv(0, 0, 1, pointer(place)))}) + chain;
  };
  EXPECT_EQ(records_in(with_pointers(127)).records.at(0).target, "a");
  EXPECT_EQ(failure_in(with_pointers(128)), kMalformed);
}

TEST(DnsAnswer, DataOfAnotherLengthIsMalformed) {
  for (const Buffer& data :
       {srv(0, 0, 1, name("a")) + u8(0), srv(0, 0, 1, {}), u16(0), Buffer(), srv(0, 0, 1, string("a"))}) {
    EXPECT_EQ(failure_in(srv_message({record(kAsked, kSrv, 60, data), one_srv()})), kMalformed);
  }
  Buffer long_string = u16(0) + u16(0) + string("") + string("") + u8(200) + name(".");
  auto answer = parse_naptr_answer(message(kNaptr, {record(kAsked, kNaptr, 60, long_string)}));
  EXPECT_TRUE(std::get_if<DnsFailure>(&answer));
  EXPECT_EQ(failure_in(srv_message({record(kAsked, kCname, 60, name("a") + u8(0))})), kMalformed);
}

TEST(DnsAnswer, EveryCutIsMalformed) {
  Buffer whole =
      srv_message({record(kAsked, kCname, 60, name("b")), record(name("b"), kSrv, 60, srv(1, 2, 3, kAsked))});
  for (std::size_t size = 0; size < whole.size(); size++) {
    EXPECT_EQ(failure_in(Buffer(whole.begin(), whole.begin() + size)), kMalformed) << size;
  }
  Buffer absent = srv_message({}, {soa(300, 60)});
  for (std::size_t size = 0; size < absent.size(); size++) {
    EXPECT_EQ(failure_in(Buffer(absent.begin(), absent.begin() + size)), kMalformed) << size;
  }
}

TEST(DnsAnswer, MoreRecordsThanThereAreIsMalformed) {
  Buffer bytes = srv_message({one_srv()});
  bytes[6] = std::byte{0xFF};
  EXPECT_EQ(failure_in(bytes), kMalformed);
}

// "ADDRESS TTL", ...
template <class Records>
std::string text(const DnsAnswer<Records>& answer) {
  auto* found = std::get_if<DnsRecords<Records>>(&answer);
  if (!found) return std::holds_alternative<DnsAbsence>(answer) ? "absent" : std::get<DnsFailure>(answer).reason;
  std::string result;
  for (const Records& one : found->records)
    result += one.address.to_string() + " " + std::to_string(one.ttl / seconds(1)) + ", ";
  return result;
}

TEST(DnsAnswer, AddressesOfBothFamiliesHaveTheirTtls) {
  Buffer v4 = u8(192) + u8(0) + u8(2) + u8(1);
  Buffer v6 = u32(0x20010DB8) + u32(0) + u32(0) + u32(7);
  EXPECT_EQ(text(parse_ipv4_answer(message(kA, {record(kAsked, kA, 60, v4), record(kAsked, kA, 30, v4)}))),
            "192.0.2.1:0 60, 192.0.2.1:0 30, ");
  EXPECT_EQ(text(parse_ipv6_answer(message(kAaaa, {record(kAsked, kAaaa, 5, v6)}))), "[2001:db8::7]:0 5, ");
  EXPECT_EQ(text(parse_ipv6_answer(message(kAaaa, {}, {soa(60, 60)}))), "absent");
}

TEST(DnsAnswer, AnAddressOfAnotherSizeIsMalformed) {
  Buffer v4 = u8(192) + u8(0) + u8(2) + u8(1);
  for (const Buffer& data : {v4 + u8(0), u8(192) + u8(0), Buffer()}) {
    EXPECT_EQ(text(parse_ipv4_answer(message(kA, {record(kAsked, kA, 60, data)}))), kMalformed);
    EXPECT_EQ(text(parse_ipv6_answer(message(kAaaa, {record(kAsked, kAaaa, 60, data)}))), kMalformed);
  }
}

}  // namespace
}  // namespace cloudbus
