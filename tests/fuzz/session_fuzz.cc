// SPDX-License-Identifier: Apache-2.0
// Any bytes off a link, in any pieces and at any pace, to a session whose application answers all that it is told. The
// first byte chooses the role and whether a valid start stands before the rest, the second one the size of the pieces.

#include <cstddef>
#include <cstdint>

#include "core/application.h"
#include "core/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cloudbus;
  if (size < 2) return 0;
  Role role = data[0] & 1 ? Role::Controller : Role::Segment;
  Application application(role);
  if (data[0] & 2)
    application.receive(wire::preface(role == Role::Controller ? Role::Segment : Role::Controller) +
                        wire::hello(20'000, 9));
  std::size_t piece = data[1] == 0 ? size : data[1];
  Bytes bytes(reinterpret_cast<const std::byte*>(data) + 2, size - 2);
  while (!bytes.empty()) {
    Bytes part = bytes.first(std::min(piece, bytes.size()));
    bytes = bytes.subspan(part.size());
    application.receive(part);
    if (data[0] & 4) application.pass_time(Duration((data[0] >> 3) * 100'000));
  }
  return 0;
}
