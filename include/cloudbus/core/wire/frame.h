// SPDX-License-Identifier: Apache-2.0
#pragma once

// The frames of a link: doc/protocol.md, section 2.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cloudbus/core/base/bytes.h"

namespace cloudbus {

using StreamId = std::uint64_t;

inline constexpr std::size_t kHeaderSize = 12;                             // section 2.1
inline constexpr std::size_t kMaxPayload = 65'535;                         // section 2.1
inline constexpr std::size_t kMaxHello = 1'024;                            // section 1.2
inline constexpr std::size_t kMinOpen = 22;                                // section 3.1
inline constexpr std::size_t kMaxOpen = 1'024;                             // section 3.1
inline constexpr std::size_t kMaxControl = 1'024;                          // the longest payload that is not DATA
inline constexpr std::size_t kResumeSize = 64;                             // section 9.2
inline constexpr std::size_t kMaxCloseReason = 256;                        // section 5.1
inline constexpr std::size_t kReset = 10;                                  // section 3.6, without a reason
inline constexpr std::size_t kMaxResetReason = 256;                        // section 3.6
inline constexpr StreamId kNoMoreStreams = ~StreamId{0};                   // section 6, the first GOAWAY
inline constexpr std::uint64_t kMaxOffset = (std::uint64_t{1} << 63) - 1;  // section 4

enum class FrameType : std::uint8_t {
  Hello = 1,
  Open = 2,
  Accept = 3,
  Data = 4,
  Credit = 5,
  Reset = 6,
  Stop = 7,
  MaxStreams = 8,
  Ping = 9,
  GoAway = 10,
  Ack = 11,
  Resume = 12,
  Close = 13,
};

inline constexpr std::uint8_t kFin = 1;    // DATA
inline constexpr std::uint8_t kReply = 1;  // PING

struct FrameHeader {
  FrameType type;
  std::uint8_t flags = 0;
  std::uint16_t length = 0;
  StreamId stream = 0;
};

// "DATA", as in the table of section 2.1.
std::string_view name_of(FrameType type);

std::byte* encode(std::byte* out, const FrameHeader& header);

// The header as received, valid or not. `in` holds kHeaderSize bytes.
FrameHeader decode_header(const std::byte* in);

// What is wrong with a header, by the table of section 2.1; null for a valid one.
const char* header_error(const FrameHeader& header);

// Whether frames of this type count in positions: section 2.3.
bool is_reliable(FrameType type);

}  // namespace cloudbus
