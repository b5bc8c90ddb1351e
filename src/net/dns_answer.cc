// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/dns_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>

#include "cloudbus/core/names/dns_name.h"

namespace cloudbus {
namespace {

constexpr std::uint16_t kInternet = 1;     // the class
constexpr std::size_t kMaxNameSize = 255;  // bytes on the wire: RFC 1035, section 2.3.4
constexpr int kMaxPointers = 127;          // as many as a name has labels
constexpr int kMaxAliases = 16;

enum class Type : std::uint16_t { A = 1, Ns = 2, Cname = 5, Soa = 6, Aaaa = 28, Srv = 33, Naptr = 35 };

// The second and third pair of bytes of a message. Section 4.1.1.
enum Flag : std::uint16_t { kResponse = 0x8000, kOpcode = 0x7800, kTruncated = 0x0200, kResponseCode = 0x000F };
enum ResponseCode : std::uint16_t { kNoError = 0, kNameError = 3 };

// Takes fields off a message. A field that is missing or invalid is empty or 0, and the reader is broken from then on.
class Reader {
 public:
  explicit Reader(Bytes message) : Reader(message, 0, message.size()) {}

  bool is_broken() const { return is_broken_; }
  bool is_at_end() const { return !is_broken_ && at_ == end_; }

  template <std::unsigned_integral Int>
  Int take() {
    Bytes bytes = take_bytes(sizeof(Int));
    return is_broken_ ? Int{0} : load<Int>(bytes.data());
  }

  // Takes as many bytes as fit into `to`.
  void take_into(void* to, std::size_t size) { std::ranges::copy(take_bytes(size), static_cast<std::byte*>(to)); }

  // A <character-string>. Section 3.3.
  std::string take_text() { return std::string(as_text(take_bytes(take<std::uint8_t>()))); }

  // A reader of the next bytes. Names in them may point to the whole message.
  Reader take_part(std::size_t size) {
    const std::size_t begin = at_;
    take_bytes(size);
    return is_broken_ ? *this : Reader(message_, begin, at_);
  }

  // Sections 3.1 and 4.1.4.
  std::string take_name() {
    std::string name;
    std::size_t size = 0;   // on the wire
    Reader labels = *this;  // goes to where pointers lead
    for (int pointers = 0; pointers <= kMaxPointers;) {
      const auto length = labels.take<std::uint8_t>();
      if (length >= 0xC0) {
        const std::size_t place = (length & 0x3F) << 8 | labels.take<std::uint8_t>();
        if (pointers++ == 0) skip_to(labels);
        labels.move_to(place);
        continue;
      }
      Bytes label = labels.take_bytes(length);
      size += length + 1;
      if (labels.is_broken_ || length > 0x3F || size > kMaxNameSize) break;
      if (length == 0) {
        if (pointers == 0) skip_to(labels);
        return name.empty() ? "." : lower_case(name);
      }
      append_label(name, label);
    }
    is_broken_ = true;
    return {};
  }

 private:
  Reader(Bytes message, std::size_t at, std::size_t end) : message_(message), at_(at), end_(end) {}

  Bytes take_bytes(std::size_t size) {
    if (size > end_ - at_) is_broken_ = true;
    if (is_broken_) return {};
    at_ += size;
    return message_.subspan(at_ - size, size);
  }

  void skip_to(const Reader& other) { at_ = other.at_; }

  void move_to(std::size_t place) {
    end_ = message_.size();
    at_ = std::min(place, end_);
  }

  static void append_label(std::string& name, Bytes label) {
    if (!name.empty()) name += '.';
    for (char c : as_text(label)) {
      if (c > ' ' && c < '\x7F' && c != '.' && c != '\\') {
        name += c;
      } else {
        fmt::format_to(std::back_inserter(name), "\\{:03}", static_cast<unsigned char>(c));
      }
    }
  }

  Bytes message_;
  std::size_t at_, end_;
  bool is_broken_ = false;
};

// A resource record. Section 4.1.3.
struct Resource {
  std::string name;
  Type type;
  std::uint16_t record_class;
  Duration ttl;
  Reader data;
};

Resource take_resource(Reader& message) {
  std::string name = message.take_name();
  const auto type = message.take<std::uint16_t>();
  const auto record_class = message.take<std::uint16_t>();
  auto ttl = message.take<std::uint32_t>();
  if (ttl > 0x7FFFFFFF) ttl = 0;  // RFC 2181, section 8
  Reader data = message.take_part(message.take<std::uint16_t>());
  return {std::move(name), Type{type}, record_class, std::chrono::seconds(ttl), data};
}

std::string name_of(std::uint16_t response_code) {
  switch (response_code) {
    case 1: return "FORMERR";
    case 2: return "SERVFAIL";
    case 4: return "NOTIMP";
    case 5: return "REFUSED";
  }
  return fmt::format("RCODE {}", response_code);
}

// How long an absence may be cached: the SOA's own TTL, or its last field. RFC 2308, section 5.
Duration absence_ttl(Resource& soa) {
  soa.data.take_name();
  soa.data.take_name();
  soa.data.take_part(4 * sizeof(std::uint32_t));
  const Duration minimum = std::chrono::seconds(soa.data.take<std::uint32_t>());
  return soa.data.is_broken() ? Duration{} : std::min(soa.ttl, minimum);
}

class Message {
 public:
  using Found = std::variant<std::vector<Resource>, DnsAbsence, DnsFailure>;

  explicit Message(Bytes bytes) : rest_(bytes) {}

  // The records of the type, with TTLs that are no longer than those of the aliases before them.
  Found find(Type type) {
    rest_.take<std::uint16_t>();  // the id
    flags_ = rest_.take<std::uint16_t>();
    for (std::uint16_t& count : counts_) count = rest_.take<std::uint16_t>();
    if (rest_.is_broken()) return malformed();
    if ((flags_ & (kResponse | kOpcode)) != kResponse) return DnsFailure{"what came is no answer"};
    if (code() != kNoError && code() != kNameError) return DnsFailure{name_of(code())};
    if (flags_ & kTruncated) return DnsFailure{"the answer is truncated"};
    return find_answer(type);
  }

  static DnsFailure malformed() { return {"the answer is malformed"}; }

 private:
  enum Section { kQuestions, kAnswers, kAuthorities, kAdditional };

  std::uint16_t code() const { return flags_ & kResponseCode; }

  Found find_answer(Type type) {
    std::string name = rest_.take_name();
    const Type asked = Type{rest_.take<std::uint16_t>()};
    if (rest_.take<std::uint16_t>() != kInternet || asked != type || counts_[kQuestions] != 1) {
      return rest_.is_broken() ? malformed() : DnsFailure{"the answer is to another question"};
    }
    std::vector<Resource> answers = take_resources(counts_[kAnswers]);
    if (rest_.is_broken()) return malformed();
    Duration ttl = Duration::max();
    if (auto failure = follow_aliases(answers, name, ttl)) return *failure;
    std::erase_if(answers, [&](const Resource& answer) { return answer.type != type || answer.name != name; });
    if (answers.empty() || code() == kNameError) return absence(ttl);
    for (Resource& answer : answers) answer.ttl = std::min(answer.ttl, ttl);
    return answers;
  }

  std::vector<Resource> take_resources(std::uint16_t count) {
    std::vector<Resource> resources;
    for (; count > 0 && !rest_.is_broken(); count--) {
      Resource resource = take_resource(rest_);
      if (resource.record_class == kInternet) resources.push_back(std::move(resource));
    }
    return resources;
  }

  // Follows an alias from one name to the next. RFC 1034, section 3.6.2.
  static std::optional<DnsFailure> follow_aliases(const std::vector<Resource>& answers, std::string& name,
                                                  Duration& ttl) {
    for (int aliases = 0; aliases <= kMaxAliases; aliases++) {
      auto is_alias = [&](const Resource& answer) { return answer.type == Type::Cname && answer.name == name; };
      auto alias = std::ranges::find_if(answers, is_alias);
      if (alias == answers.end()) return std::nullopt;
      ttl = std::min(ttl, alias->ttl);
      Reader data = alias->data;
      name = data.take_name();
      if (!data.is_at_end()) return malformed();
    }
    return DnsFailure{"the aliases in the answer have no end"};
  }

  // RFC 2308, section 2.2: NS records without a SOA are a referral, which a recursive server does not give.
  Found absence(Duration ttl) {
    std::vector<Resource> authorities = take_resources(counts_[kAuthorities]);
    if (rest_.is_broken()) return malformed();
    auto soa = std::ranges::find(authorities, Type::Soa, &Resource::type);
    if (soa != authorities.end()) return DnsAbsence{code() == kNoError, std::min(ttl, absence_ttl(*soa))};
    if (code() == kNoError && std::ranges::find(authorities, Type::Ns, &Resource::type) != authorities.end()) {
      return DnsFailure{"the server refers to other servers"};
    }
    return DnsAbsence{code() == kNoError, Duration{}};
  }

  Reader rest_;
  std::uint16_t flags_ = 0;
  std::uint16_t counts_[4] = {};  // of the sections
};

// RFC 1035, section 3.4.1.
HostRecord take_ipv4(Reader& data) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  data.take_into(&address.sin_addr, sizeof address.sin_addr);
  return {Address::from_sockaddr(reinterpret_cast<sockaddr*>(&address), sizeof address)};
}

// RFC 3596, section 2.2.
HostRecord take_ipv6(Reader& data) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  data.take_into(&address.sin6_addr, sizeof address.sin6_addr);
  return {Address::from_sockaddr(reinterpret_cast<sockaddr*>(&address), sizeof address)};
}

// RFC 2782, "The format of the SRV RR".
SrvRecord take_srv(Reader& data) {
  SrvRecord record;
  record.priority = data.take<std::uint16_t>();
  record.weight = data.take<std::uint16_t>();
  record.port = data.take<std::uint16_t>();
  record.target = data.take_name();
  return record;
}

// RFC 3403, section 4.1.
NaptrRecord take_naptr(Reader& data) {
  NaptrRecord record;
  record.order = data.take<std::uint16_t>();
  record.preference = data.take<std::uint16_t>();
  record.flags = data.take_text();
  record.services = data.take_text();
  record.regexp = data.take_text();
  record.replacement = data.take_name();
  return record;
}

template <class Record>
DnsAnswer<Record> parse(Bytes message, Type type, Record (*take)(Reader&)) {
  Message::Found found = Message(message).find(type);
  if (auto* absence = std::get_if<DnsAbsence>(&found)) return *absence;
  if (auto* failure = std::get_if<DnsFailure>(&found)) return *failure;
  DnsRecords<Record> answer{{}, Duration::max()};
  for (Resource& resource : std::get<std::vector<Resource>>(found)) {
    Record record = take(resource.data);
    if (!resource.data.is_at_end()) return Message::malformed();
    record.ttl = resource.ttl;
    answer.ttl = std::min(answer.ttl, record.ttl);
    answer.records.push_back(std::move(record));
  }
  return answer;
}

}  // namespace

DnsAnswer<HostRecord> parse_ipv4_answer(Bytes message) { return parse(message, Type::A, take_ipv4); }

DnsAnswer<HostRecord> parse_ipv6_answer(Bytes message) { return parse(message, Type::Aaaa, take_ipv6); }

DnsAnswer<SrvRecord> parse_srv_answer(Bytes message) { return parse(message, Type::Srv, take_srv); }

DnsAnswer<NaptrRecord> parse_naptr_answer(Bytes message) { return parse(message, Type::Naptr, take_naptr); }

}  // namespace cloudbus
