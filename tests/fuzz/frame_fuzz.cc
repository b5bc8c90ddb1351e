// SPDX-License-Identifier: Apache-2.0
// Any bytes as a header, a preface, a HELLO, an OPEN and as fields: what is taken reads back as the same once written.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cloudbus/core/wire/frame.h"
#include "cloudbus/core/wire/hello.h"

namespace {

using namespace cloudbus;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

void check_header(Bytes bytes) {
  if (bytes.size() < kHeaderSize) return;
  FrameHeader header = decode_header(bytes.data());
  std::byte out[kHeaderSize];
  encode(out, header);
  require(std::memcmp(out, bytes.data(), kHeaderSize) == 0, "a header reads back");
  if (header_error(header)) return;
  require(header.type == FrameType::Data || header.length <= kMaxControl, "a control frame is short");
  is_reliable(header.type);
}

void check_preface(Bytes bytes) {
  if (bytes.size() < kPrefaceSize) return;
  for (Role role : {Role::Controller, Role::Segment})
    if (auto error = preface_error(bytes.data(), role)) require(!error->reason.empty(), "a reason");
}

void check_hello(Bytes bytes) {
  auto first = decode_hello(bytes);
  auto* hello = std::get_if<Hello>(&first);
  if (!hello) return require(!std::get<LinkError>(first).reason.empty(), "a reason");
  require(hello->initial_window >= kMinWindow && hello->initial_window <= kMaxWindow, "a window within its bounds");
  auto second = decode_hello(encode(*hello));
  auto* again = std::get_if<Hello>(&second);
  require(again && again->initial_window == hello->initial_window && again->max_streams == hello->max_streams &&
              again->boot_id == hello->boot_id && again->software == hello->software,
          "a HELLO reads back");
}

void check_open(Bytes bytes) {
  auto first = decode_open(bytes);
  auto* request = std::get_if<OpenRequest>(&first);
  if (!request) return require(!std::get<LinkError>(first).reason.empty(), "a reason");
  require(request->service.size() <= 255 && request->client.size() <= 255, "names within their bounds");
  auto payload = encode(*request);
  require(payload.size() <= bytes.size() && payload.size() >= kMinOpen && payload.size() <= kMaxOpen,
          "an OPEN that fits");
  auto second = decode_open(payload);
  auto* again = std::get_if<OpenRequest>(&second);
  require(again && again->conversation == request->conversation && again->priority == request->priority &&
              again->service == request->service && again->client == request->client,
          "an OPEN reads back");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(reinterpret_cast<const std::byte*>(data), size);
  check_header(bytes);
  check_preface(bytes);
  check_hello(bytes);
  check_open(bytes);
  if (auto error = fields_error(bytes)) require(!error->reason.empty(), "a reason");
  return 0;
}
