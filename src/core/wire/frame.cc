// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/wire/frame.h"

#include <algorithm>

namespace cloudbus {
namespace {

enum class Scope { Session, Stream };

struct Rule {
  Scope scope;
  std::size_t shortest, longest;
  std::uint8_t flags;  // those that are defined
  bool reliable;
};

constexpr std::array<Rule, 14> kRules{{
    {},                                                          // 0 is no type
    {Scope::Session, 0, kMaxHello, 0, false},                    // HELLO
    {Scope::Stream, kMinOpen, kMaxOpen, 0, true},                // OPEN
    {Scope::Stream, 0, 256, 0, true},                            // ACCEPT
    {Scope::Stream, 0, kMaxPayload, kFin, true},                 // DATA
    {Scope::Stream, 8, 8, 0, true},                              // CREDIT
    {Scope::Stream, kReset, kReset + kMaxResetReason, 0, true},  // RESET
    {Scope::Stream, 2, 2, 0, true},                              // STOP
    {Scope::Session, 8, 8, 0, true},                             // MAX_STREAMS
    {Scope::Session, 8, 8, kReply, false},                       // PING
    {Scope::Session, 8, 8, 0, true},                             // GOAWAY
    {Scope::Session, 8, 8, 0, false},                            // ACK
    {Scope::Session, kResumeSize, kResumeSize, 0, false},        // RESUME
    {Scope::Session, 2, 2 + kMaxCloseReason, 0, false},          // CLOSE
}};

}  // namespace

std::string_view name_of(FrameType type) {
  switch (type) {
    case FrameType::Hello: return "HELLO";
    case FrameType::Open: return "OPEN";
    case FrameType::Accept: return "ACCEPT";
    case FrameType::Data: return "DATA";
    case FrameType::Credit: return "CREDIT";
    case FrameType::Reset: return "RESET";
    case FrameType::Stop: return "STOP";
    case FrameType::MaxStreams: return "MAX_STREAMS";
    case FrameType::Ping: return "PING";
    case FrameType::GoAway: return "GOAWAY";
    case FrameType::Ack: return "ACK";
    case FrameType::Resume: return "RESUME";
    case FrameType::Close: return "CLOSE";
  }
  return "unknown";
}

std::byte* encode(std::byte* out, const FrameHeader& header) {
  out = store(out, static_cast<std::uint8_t>(header.type));
  out = store(out, header.flags);
  out = store(out, header.length);
  return store(out, header.stream);
}

FrameHeader decode_header(const std::byte* in) {
  return {FrameType{load<std::uint8_t>(in)}, load<std::uint8_t>(in + 1), load<std::uint16_t>(in + 2),
          load<std::uint64_t>(in + 4)};
}

const char* header_error(const FrameHeader& header) {
  auto type = static_cast<std::size_t>(header.type);
  if (type == 0 || type >= kRules.size()) return "unknown frame type";
  const Rule& rule = kRules[type];
  if (header.length < rule.shortest || header.length > rule.longest) return "frame length out of range";
  if (header.flags & ~rule.flags) return "undefined frame flag";
  if ((rule.scope == Scope::Stream) != (header.stream != 0))
    return "stream id where none belongs, or none where one does";
  return nullptr;
}

bool is_reliable(FrameType type) { return kRules[static_cast<std::size_t>(type)].reliable; }

}  // namespace cloudbus
