// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/wire/hello.h"

#include <fmt/format.h>

#include <algorithm>

namespace cloudbus {
namespace {

constexpr std::uint16_t kCritical = 0x8000;
constexpr std::size_t kFieldHeader = 4;
constexpr std::size_t kProcessSize = 12;  // of client-process

enum FieldNumber : std::uint16_t {
  kInitialWindow = 1,
  kMaxStreams = 2,
  kBootId = 3,
  kSoftware = 4,
  kSessionId = 5,
  kSessionSecret = 6,
  kResume = 7,
  kReasons = 8,
};

// Of OPEN.
enum OpenFieldNumber : std::uint16_t {
  kRetry = 1,
  kClientProcess = 2,
  kClientEnds = 3,
};

struct Field {
  std::uint16_t number;
  bool critical;
  Bytes value;
};

LinkError frame_error(const char* reason) { return {LinkCode::FrameError, reason}; }

// Takes the first field off `rest`; nothing if the field extends beyond it.
std::optional<Field> take_field(Bytes& rest) {
  if (rest.size() < kFieldHeader) return std::nullopt;
  auto number = load<std::uint16_t>(rest.data());
  auto length = load<std::uint16_t>(rest.data() + 2);
  if (length > rest.size() - kFieldHeader) return std::nullopt;
  Field field{static_cast<std::uint16_t>(number & ~kCritical), (number & kCritical) != 0,
              rest.subspan(kFieldHeader, length)};
  rest = rest.subspan(kFieldHeader + length);
  return field;
}

void append(std::vector<std::byte>& out, Bytes bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

template <std::unsigned_integral Int>
void append(std::vector<std::byte>& out, Int value) {
  std::array<std::byte, sizeof(Int)> bytes;
  store(bytes.data(), value);
  append(out, Bytes(bytes));
}

void append_field(std::vector<std::byte>& out, std::uint16_t number, Bytes value) {
  append(out, number);
  append(out, static_cast<std::uint16_t>(value.size()));
  append(out, value);
}

template <std::unsigned_integral Int>
void append_field(std::vector<std::byte>& out, std::uint16_t number, Int value) {
  std::array<std::byte, sizeof(Int)> bytes;
  store(bytes.data(), value);
  append_field(out, number, Bytes(bytes));
}

// Takes a text with its 2-byte length off `rest`.
std::optional<std::string> take_text(Bytes& rest) {
  if (rest.size() < 2) return std::nullopt;
  auto length = load<std::uint16_t>(rest.data());
  if (length > 255 || length > rest.size() - 2) return std::nullopt;
  std::string text(as_text(rest.subspan(2, length)));
  rest = rest.subspan(2 + length);
  return text;
}

template <std::size_t Size>
std::optional<LinkError> take_into(std::array<std::byte, Size>& target, const Field& field, const char* error) {
  if (field.value.size() != Size) return frame_error(error);
  std::ranges::copy(field.value, target.begin());
  return std::nullopt;
}

SessionKey& session_of(Hello& hello) { return hello.session ? *hello.session : hello.session.emplace(); }

std::optional<LinkError> take_offer(ResumeOffer& offer, Bytes value) {
  if (value.size() != 8 + offer.nonce.size()) return frame_error("resume is not 24 bytes");
  offer.wait_ms = load<std::uint32_t>(value.data());
  offer.window = load<std::uint32_t>(value.data() + 4);
  std::ranges::copy(value.subspan(8), offer.nonce.begin());
  if (offer.window < kMinWindow) return frame_error("the window of resume is too small");
  return std::nullopt;
}

std::optional<LinkError> unknown_field(const Field& field) {
  if (!field.critical) return std::nullopt;
  return LinkError{LinkCode::Unsupported, fmt::format("unknown critical field {}", field.number)};
}

std::optional<LinkError> take_into(Hello& hello, const Field& field) {
  switch (field.number) {
    case kInitialWindow:
      if (field.value.size() != 4) return frame_error("initial-window is not 4 bytes");
      hello.initial_window = load<std::uint32_t>(field.value.data());
      if (hello.initial_window < kMinWindow || hello.initial_window > kMaxWindow)
        return frame_error("initial-window out of range");
      return std::nullopt;
    case kMaxStreams:
      if (field.value.size() != 8) return frame_error("max-streams is not 8 bytes");
      hello.max_streams = load<std::uint64_t>(field.value.data());
      return std::nullopt;
    case kBootId: return take_into(hello.boot_id, field, "boot-id is not 16 bytes");
    case kSoftware:
      if (field.value.empty() || field.value.size() > 64) return frame_error("software is not 1 to 64 bytes");
      hello.software = as_text(field.value);
      return std::nullopt;
    case kSessionId: return take_into(session_of(hello).id, field, "session-id is not 16 bytes");
    case kSessionSecret: return take_into(session_of(hello).secret, field, "session-secret is not 32 bytes");
    case kResume: return take_offer(hello.resume.emplace(), field.value);
    case kReasons: hello.takes_reasons = true; return std::nullopt;
  }
  return unknown_field(field);
}

std::optional<LinkError> take_into(OpenRequest& request, const Field& field) {
  switch (field.number) {
    case kRetry:
      if (!field.value.empty()) return frame_error("retry is not empty");
      request.retry = true;
      return std::nullopt;
    case kClientProcess:
      if (field.value.size() != kProcessSize) return frame_error("client-process is not 12 bytes");
      request.client_process = {load<std::uint32_t>(field.value.data()), load<std::uint64_t>(field.value.data() + 4)};
      return std::nullopt;
    case kClientEnds:
      if (field.value.size() != ConnectionEnds::kIpv4 && field.value.size() != ConnectionEnds::kIpv6)
        return frame_error("client-ends is not 12 or 36 bytes");
      std::ranges::copy(field.value, request.client_ends.bytes.begin());
      request.client_ends.size = static_cast<std::uint8_t>(field.value.size());
      return std::nullopt;
  }
  return unknown_field(field);
}

template <typename Take>
std::optional<LinkError> for_each_field(Bytes fields, Take take) {
  std::vector<std::uint16_t> seen;
  while (!fields.empty()) {
    auto field = take_field(fields);
    if (!field) return frame_error("a field does not fit its frame");
    if (std::ranges::find(seen, field->number) != seen.end()) return frame_error("a field appears twice");
    seen.push_back(field->number);
    if (auto error = take(*field)) return error;
  }
  return std::nullopt;
}

}  // namespace

std::array<std::byte, kPrefaceSize> encode(const Preface& preface) {
  return {kMagic[0],
          kMagic[1],
          kMagic[2],
          kMagic[3],
          std::byte{preface.lowest},
          std::byte{preface.highest},
          static_cast<std::byte>(preface.role),
          std::byte{0}};
}

std::optional<LinkError> preface_error(const std::byte* in, Role own_role) {
  auto lowest = std::to_integer<unsigned>(in[4]), highest = std::to_integer<unsigned>(in[5]);
  auto role = std::to_integer<unsigned>(in[6]);
  if (lowest > highest || highest < kVersion || lowest > kVersion)
    return LinkError{LinkCode::Version,
                     fmt::format("the peer speaks versions {} to {}, this end speaks {}", lowest, highest, kVersion)};
  if (role == static_cast<unsigned>(own_role)) {
    auto name = name_of(own_role);
    return LinkError{LinkCode::WrongRole, fmt::format("both ends are a {0}: a {0} cannot talk to a {0}", name)};
  }
  if (role != static_cast<unsigned>(Role::Controller) && role != static_cast<unsigned>(Role::Segment))
    return frame_error("unknown role in the preface");
  return std::nullopt;
}

std::vector<std::byte> encode(const Hello& hello) {
  std::vector<std::byte> out;
  append_field(out, kInitialWindow | kCritical, hello.initial_window);
  append_field(out, kMaxStreams | kCritical, hello.max_streams);
  append_field(out, kBootId, Bytes(hello.boot_id));
  if (!hello.software.empty()) append_field(out, kSoftware, as_bytes(hello.software));
  if (hello.session) {
    append_field(out, kSessionId, Bytes(hello.session->id));
    append_field(out, kSessionSecret, Bytes(hello.session->secret));
  }
  if (hello.resume) {
    std::array<std::byte, 8 + std::tuple_size_v<Nonce>> value;
    std::byte* end = store(store(value.data(), hello.resume->wait_ms), hello.resume->window);
    std::ranges::copy(hello.resume->nonce, end);
    append_field(out, kResume, Bytes(value));
  }
  if (hello.takes_reasons) append_field(out, kReasons, Bytes());
  return out;
}

std::variant<Hello, LinkError> decode_hello(Bytes payload) {
  Hello hello;
  std::vector<std::uint16_t> seen;
  while (!payload.empty()) {
    auto field = take_field(payload);
    if (!field) return frame_error("a field of HELLO does not fit");
    if (std::ranges::find(seen, field->number) != seen.end()) return frame_error("a field of HELLO appears twice");
    seen.push_back(field->number);
    if (auto error = take_into(hello, *field)) return *error;
  }
  for (std::uint16_t required : {kInitialWindow, kMaxStreams})
    if (std::ranges::find(seen, required) == seen.end()) return frame_error("HELLO lacks a required field");
  bool has_id = std::ranges::find(seen, kSessionId) != seen.end();
  bool has_secret = std::ranges::find(seen, kSessionSecret) != seen.end();
  if (has_id != has_secret) return frame_error("session-id and session-secret come together");
  return hello;
}

std::array<std::byte, kResumeSize> encode(const ResumeFrame& resume) {
  std::array<std::byte, kResumeSize> out;
  std::byte* end = std::ranges::copy(resume.session, out.data()).out;
  end = store(store(end, resume.epoch), resume.position);
  std::ranges::copy(resume.proof, end);
  return out;
}

ResumeFrame decode_resume(Bytes payload) {
  ResumeFrame resume;
  std::ranges::copy(payload.first(16), resume.session.begin());
  resume.epoch = load<std::uint64_t>(payload.data() + 16);
  resume.position = load<std::uint64_t>(payload.data() + 24);
  std::ranges::copy(payload.subspan(32), resume.proof.begin());
  return resume;
}

std::vector<std::byte> encode(const OpenRequest& request) {
  std::vector<std::byte> out;
  out.reserve(request.conversation.size() + 6 + request.service.size() + request.client.size());
  append(out, Bytes(request.conversation));
  append(out, static_cast<std::uint8_t>(request.priority));
  append(out, std::uint8_t{0});
  for (const std::string& text : {std::cref(request.service), std::cref(request.client)}) {
    append(out, static_cast<std::uint16_t>(text.size()));
    append(out, as_bytes(text));
  }
  if (request.retry) append_field(out, kRetry, Bytes());
  if (request.client_process) {
    std::array<std::byte, kProcessSize> value;
    store(store(value.data(), request.client_process->pid), request.client_process->pid_namespace);
    append_field(out, kClientProcess, Bytes(value));
  }
  if (request.client_ends.size > 0) append_field(out, kClientEnds, request.client_ends.view());
  return out;
}

std::variant<OpenRequest, LinkError> decode_open(Bytes payload) {
  OpenRequest request;
  if (payload.size() < request.conversation.size() + 2) return frame_error("OPEN is too short");
  std::copy_n(payload.begin(), request.conversation.size(), request.conversation.begin());
  payload = payload.subspan(request.conversation.size());
  request.priority = static_cast<std::int8_t>(payload[0]);
  payload = payload.subspan(2);
  auto service = take_text(payload);
  auto client = service ? take_text(payload) : std::nullopt;
  if (!client) return frame_error("a name in OPEN does not fit");
  request.service = std::move(*service);
  request.client = std::move(*client);
  if (auto error = for_each_field(payload, [&](const Field& field) { return take_into(request, field); }))
    return *error;
  return request;
}

std::optional<LinkError> fields_error(Bytes fields) { return for_each_field(fields, unknown_field); }

}  // namespace cloudbus
