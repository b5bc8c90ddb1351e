// SPDX-License-Identifier: Apache-2.0
#pragma once

// Bytes of a link, written by hand and independently of the encoders under test: doc/protocol.md, sections 1 to 6.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cloudbus/core/wire/codes.h"
#include "cloudbus/core/wire/frame.h"

namespace cloudbus::wire {

struct Buffer : std::vector<std::byte> {
  using std::vector<std::byte>::vector;
};

inline Buffer operator+(Buffer left, const Buffer& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}
inline Buffer& operator+=(Buffer& left, const Buffer& right) { return left = std::move(left) + right; }

inline Buffer repeat(const Buffer& bytes, int times) {
  Buffer out;
  for (int i = 0; i < times; i++) out.insert(out.end(), bytes.begin(), bytes.end());
  return out;
}

inline Buffer integer(std::uint64_t value, int size) {
  Buffer out;
  for (int shift = 8 * (size - 1); shift >= 0; shift -= 8) out.push_back(static_cast<std::byte>(value >> shift));
  return out;
}
inline Buffer u8(std::uint64_t value) { return integer(value, 1); }
inline Buffer u16(std::uint64_t value) { return integer(value, 2); }
inline Buffer u32(std::uint64_t value) { return integer(value, 4); }
inline Buffer u64(std::uint64_t value) { return integer(value, 8); }

inline Buffer text(std::string_view value) {
  Bytes bytes = as_bytes(value);
  return {bytes.begin(), bytes.end()};
}
inline Buffer zeros(std::size_t size) { return Buffer(size); }

inline Buffer header(unsigned type, unsigned flags, std::size_t length, StreamId stream) {
  return u8(type) + u8(flags) + u16(length) + u64(stream);
}
inline Buffer frame(FrameType type, StreamId stream, const Buffer& payload = {}, unsigned flags = 0) {
  return header(static_cast<unsigned>(type), flags, payload.size(), stream) + payload;
}

inline Buffer preface(unsigned role, unsigned lowest = 1, unsigned highest = 1) {
  return integer(0xF343421A, 4) + u8(lowest) + u8(highest) + u8(role) + u8(0);
}
inline Buffer preface(Role role) { return preface(static_cast<unsigned>(role)); }

inline constexpr unsigned kCritical = 0x8000;

inline Buffer field(unsigned number, const Buffer& value) { return u16(number) + u16(value.size()) + value; }
inline Buffer hello_fields(std::uint64_t window, std::uint64_t max_streams) {
  return field(kCritical | 1, u32(window)) + field(kCritical | 2, u64(max_streams));
}
inline Buffer hello(std::uint64_t window = 256 * 1024, std::uint64_t max_streams = 100) {
  return frame(FrameType::Hello, 0, hello_fields(window, max_streams));
}

inline Buffer open_payload(std::string_view service = "echo", std::string_view client = "192.0.2.1:5000") {
  return zeros(16) + u8(0) + u8(0) + u16(service.size()) + text(service) + u16(client.size()) + text(client);
}
inline Buffer open(StreamId id, std::string_view service = "echo") {
  return frame(FrameType::Open, id, open_payload(service));
}
inline Buffer accept(StreamId id) { return frame(FrameType::Accept, id); }
inline Buffer data(StreamId id, const Buffer& payload, bool fin = false) {
  return frame(FrameType::Data, id, payload, fin);
}
inline Buffer data(StreamId id, std::string_view payload, bool fin = false) { return data(id, text(payload), fin); }
inline Buffer fin(StreamId id) { return data(id, "", true); }
inline Buffer credit(StreamId id, std::uint64_t limit) { return frame(FrameType::Credit, id, u64(limit)); }
inline Buffer reset(StreamId id, unsigned code, std::uint64_t offset) {
  return frame(FrameType::Reset, id, u16(code) + u64(offset));
}
inline Buffer stop(StreamId id, unsigned code = 0) { return frame(FrameType::Stop, id, u16(code)); }
inline Buffer max_streams(std::uint64_t count) { return frame(FrameType::MaxStreams, 0, u64(count)); }
inline Buffer ping(std::uint64_t value) { return frame(FrameType::Ping, 0, u64(value)); }
inline Buffer pong(std::uint64_t value) { return frame(FrameType::Ping, 0, u64(value), 1); }
inline Buffer go_away(StreamId last) { return frame(FrameType::GoAway, 0, u64(last)); }
inline Buffer ack(std::uint64_t position) { return frame(FrameType::Ack, 0, u64(position)); }
inline Buffer offer(std::uint64_t wait_ms = 30'000, std::uint64_t window = 1024 * 1024, unsigned nonce = 0) {
  return field(7, u32(wait_ms) + u32(window) + u64(0) + u64(nonce));
}
inline Buffer session_key(unsigned id, unsigned secret) {
  return field(5, u64(0) + u64(id)) + field(6, zeros(24) + u64(secret));
}
inline Buffer close(unsigned code, std::string_view reason = "") {
  return frame(FrameType::Close, 0, u16(code) + text(reason));
}

}  // namespace cloudbus::wire
