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

// An error of the link: the code for CLOSE, and a reason for both logs.
struct LinkError {
  LinkCode code;
  std::string reason;
};

struct Preface {
  std::uint8_t lowest = kVersion, highest = kVersion;
  Role role;
};

std::array<std::byte, kPrefaceSize> encode(const Preface& preface);

// What is wrong with a preface for an end of `own_role`. `in` holds kPrefaceSize bytes with the right magic.
std::optional<LinkError> preface_error(const std::byte* in, Role own_role);

// How the segment identifies a session. An end that knows the secret may resume it, so the secret is never logged.
struct SessionKey {
  Uuid id{};
  Secret secret{};
};

// The offer of an end to keep a session whose link broke.
struct ResumeOffer {
  std::uint32_t wait_ms = 0;  // how long
  std::uint32_t window = 0;   // unacknowledged bytes that it keeps; at least kMinWindow
  Nonce nonce{};              // a new one on each link
};

struct Hello {
  std::uint32_t initial_window = 256 * 1024;  // bytes, toward the sender of the HELLO
  std::uint64_t max_streams = 0;              // over the life of the session
  Uuid boot_id{};
  std::string software{};
  std::optional<SessionKey> session{};  // a segment's
  std::optional<ResumeOffer> resume{};
  bool takes_reasons = false;  // RESET may have a reason, where both ends say so
};

std::vector<std::byte> encode(const Hello& hello);
std::variant<Hello, LinkError> decode_hello(Bytes payload);

// RESUME, in both directions.
struct ResumeFrame {
  Uuid session{};
  std::uint64_t epoch = 0;
  std::uint64_t position = 0;  // up to which the sender of RESUME has the other end's bytes
  Proof proof{};
};

std::array<std::byte, kResumeSize> encode(const ResumeFrame& resume);
// `payload` holds kResumeSize bytes.
ResumeFrame decode_resume(Bytes payload);

// A process on the host of the controller.
struct ProcessId {
  std::uint32_t pid = 0;
  std::uint64_t pid_namespace = 0;  // st_ino of /proc/self/ns/pid: namespaces(7)

  bool operator==(const ProcessId&) const = default;
};

// The two ends of a TCP connection, the one that connected first: for each the port (2 bytes) and the address (4 or 16
// bytes). Without bytes it is none.
struct ConnectionEnds {
  static constexpr std::size_t kIpv4 = 12, kIpv6 = 36;

  std::array<std::byte, kIpv6> bytes{};
  std::uint8_t size = 0;

  Bytes view() const { return Bytes(bytes).first(size); }
};

struct OpenRequest {
  Uuid conversation{};
  std::int8_t priority = 0;
  std::string service;  // at most 255 bytes
  std::string client;   // the client's address as text, at most 255 bytes
  // The controller has no other server for the client: a refused dial is to be tried again.
  bool retry = false;
  std::optional<ProcessId> client_process{};  // of a client that came over a Unix socket
  ConnectionEnds client_ends{};               // of the connection of a client that came over TCP
};

std::vector<std::byte> encode(const OpenRequest& request);
std::variant<OpenRequest, LinkError> decode_open(Bytes payload);

// Checks the fields of section 2.2 in a payload for which none is defined: a critical field is an error.
std::optional<LinkError> fields_error(Bytes fields);

}  // namespace cloudbus
