// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/dns_answer.h"

#include <algorithm>
#include <string>
#include <utility>

#include "cloudbus/core/dns_name.h"

namespace cloudbus {
namespace {

constexpr std::size_t kHeader = 12;
constexpr int kMostPointers = 64;       // of one name
constexpr std::size_t kMostName = 255;  // bytes; RFC 1035, section 2.3.4
constexpr std::uint16_t kCname = 5, kSoa = 6, kSrv = 33, kNaptr = 35;

// Reads a message from its begin. After a read beyond the end, all that follow fail too.
class Reader {
 public:
  Reader(Bytes message, std::size_t at) : message_(message), at_(at) {}

  bool is_good() const { return is_good_; }
  std::size_t at() const { return at_; }

  std::uint8_t byte() {
    if (!has(1)) return 0;
    return std::to_integer<std::uint8_t>(message_[at_++]);
  }
  std::uint16_t word() {
    auto high = byte();
    return static_cast<std::uint16_t>(high << 8 | byte());
  }
  std::uint32_t long_word() {
    std::uint32_t high = word();
    return high << 16 | word();
  }
  std::string string() {  // RFC 1035, section 3.3: a length and so many bytes
    std::size_t size = byte();
    if (!has(size)) return {};
    std::string text(reinterpret_cast<const char*>(message_.data()) + at_, size);
    at_ += size;
    return text;
  }
  // In its normal form; section 4.1.4.
  std::string name() {
    std::string text;
    Reader place = *this;
    bool has_jumped = false;
    for (int pointers = 0; pointers < kMostPointers;) {
      std::size_t size = place.byte();
      if (!place.is_good_ || size == 0) return end_name(place, has_jumped, std::move(text));
      if (size >= 0xC0) {
        std::size_t target = (size & 0x3F) << 8 | place.byte();
        if (!std::exchange(has_jumped, true)) at_ = place.at_;
        place.at_ = target;
        pointers++;
        continue;
      }
      if (size >= 0x40 || !place.has(size) || text.size() + size + 1 > kMostName) break;
      text.append(reinterpret_cast<const char*>(message_.data()) + place.at_, size).append(".");
      place.at_ += size;
    }
    is_good_ = false;
    return {};
  }
  void skip(std::size_t bytes) {
    if (has(bytes)) at_ += bytes;
  }

 private:
  bool has(std::size_t bytes) {
    is_good_ = is_good_ && at_ <= message_.size() && bytes <= message_.size() - at_;
    return is_good_;
  }
  std::string end_name(const Reader& place, bool has_jumped, std::string text) {
    is_good_ = is_good_ && place.is_good_;
    if (!has_jumped) at_ = place.at_;
    return normal_name(text.empty() ? "." : text);
  }

  Bytes message_;
  std::size_t at_;
  bool is_good_ = true;
};

void read(Reader& reader, SrvRecord& record) {
  record.priority = reader.word();
  record.weight = reader.word();
  record.port = reader.word();
  record.target = reader.name();
}

void read(Reader& reader, NaptrRecord& record) {
  record.order = reader.word();
  record.preference = reader.word();
  record.flags = reader.string();
  record.services = reader.string();
  record.regexp = reader.string();
  record.replacement = reader.name();
}

// A TTL with its highest bit set is 0: RFC 2181, section 8.
Duration ttl_of(std::uint32_t seconds) { return std::chrono::seconds(seconds > 0x7FFFFFFF ? 0 : seconds); }

template <class Record>
std::optional<DnsAnswer<Record>> parse(Bytes message, std::uint16_t type) {
  Reader reader(message, 4);
  std::size_t questions = reader.word(), answers = reader.word(), authorities = reader.word();
  reader = Reader(message, kHeader);
  for (std::size_t i = 0; i < questions && reader.is_good(); i++) {
    reader.name();
    reader.skip(4);
  }
  DnsAnswer<Record> result;
  Duration least = Duration::max(), negative{0};
  for (std::size_t i = 0; i < answers + authorities && reader.is_good(); i++) {
    reader.name();
    std::uint16_t of = reader.word();
    reader.skip(2);
    Duration ttl = ttl_of(reader.long_word());
    std::size_t size = reader.word(), begin = reader.at();
    if (i < answers && of == type) {
      Record record;
      record.ttl = ttl;
      read(reader, record);
      if (reader.is_good() && reader.at() != begin + size) return std::nullopt;
      result.records.push_back(std::move(record));
    } else if (i >= answers && of == kSoa) {
      reader.name();
      reader.name();
      reader.skip(16);
      negative = std::min(ttl, ttl_of(reader.long_word()));
    }
    if (i < answers && (of == type || of == kCname)) least = std::min(least, ttl);
    if (reader.is_good()) reader = Reader(message, begin), reader.skip(size);
  }
  if (!reader.is_good()) return std::nullopt;
  result.ttl = result.records.empty() ? negative : least;
  return result;
}

}  // namespace

std::optional<DnsAnswer<SrvRecord>> parse_srv_answer(Bytes message) { return parse<SrvRecord>(message, kSrv); }

std::optional<DnsAnswer<NaptrRecord>> parse_naptr_answer(Bytes message) { return parse<NaptrRecord>(message, kNaptr); }

}  // namespace cloudbus
