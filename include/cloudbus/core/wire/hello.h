// SPDX-License-Identifier: Apache-2.0
#pragma once

// The start of a link and of a stream: preface, HELLO and OPEN. doc/protocol.md, sections 1, 2.2 and 3.1.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cloudbus/core/base/bytes.h"
#include "cloudbus/core/base/uuid.h"
#include "cloudbus/core/wire/codes.h"
#include "cloudbus/core/wire/frame.h"
#include "cloudbus/core/wire/proof.h"

namespace cloudbus {

inline constexpr std::size_t kPrefaceSize = 8;
inline constexpr std::array<std::byte, 4> kMagic{std::byte{0xF3}, std::byte{'C'}, std::byte{'B'}, std::byte{0x1A}};
inline constexpr std::uint8_t kVersion = 1;
inline constexpr std::uint32_t kMinWindow = 16 * 1024;         // section 1.2, field 1
inline constexpr std::uint32_t kMaxWindow = 16 * 1024 * 1024;  // section 1.2, field 1

// A link-level failure: the code for CLOSE, and words for both logs.
struct LinkError {
  LinkCode code;
  std::string reason;
};

struct Preface {
  std::uint8_t lowest = kVersion, highest = kVersion;
  Role role;
};

std::array<std::byte, kPrefaceSize> encode(const Preface& preface);

// Checks a preface against what this end is. `in` holds kPrefaceSize bytes whose magic was found right.
std::optional<LinkError> preface_error(const std::byte* in, Role own_role);

// A session as its segment names it. Whoever knows the secret may resume it: it is never logged.
struct SessionKey {
  Uuid id{};
  Secret secret{};
};

// That an end keeps a session whose link broke.
struct ResumeOffer {
  std::uint32_t wait_ms = 0;  // for so long
  std::uint32_t window = 0;   // bytes that it keeps until they are acknowledged; at least kMinWindow
  Nonce nonce{};              // another one on each link
};

struct Hello {
  std::uint32_t initial_window = 256 * 1024;  // bytes, toward the sender of the HELLO
  std::uint64_t max_streams = 0;              // over the life of the session
  Uuid boot_id{};
  std::string software;
  std::optional<SessionKey> session{};  // a segment's
  std::optional<ResumeOffer> resume{};
};

std::vector<std::byte> encode(const Hello& hello);
std::variant<Hello, LinkError> decode_hello(Bytes payload);

// RESUME, both ways.
struct ResumeFrame {
  Uuid session{};
  std::uint64_t epoch = 0;
  std::uint64_t position = 0;  // up to which its sender has the other end's bytes
  Proof proof{};
};

std::array<std::byte, kResumeSize> encode(const ResumeFrame& resume);
// `payload` holds kResumeSize bytes.
ResumeFrame decode_resume(Bytes payload);

struct OpenRequest {
  Uuid conversation{};
  std::int8_t priority = 0;
  std::string service;  // to 255 bytes
  std::string client;   // the client's address as text, to 255 bytes
};

std::vector<std::byte> encode(const OpenRequest& request);
std::variant<OpenRequest, LinkError> decode_open(Bytes payload);

// Walks the fields of section 2.2 only to check them: none is defined here, so a critical one is an error.
std::optional<LinkError> fields_error(Bytes fields);

}  // namespace cloudbus
