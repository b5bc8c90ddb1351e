// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/segment/own_dials.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace cloudbus {
namespace {

std::size_t port_of(const ConnectionEnds& ends) { return load<std::uint16_t>(ends.bytes.data()); }

std::uint32_t hash_of(const ConnectionEnds& ends) {
  return static_cast<std::uint32_t>(XXH64(ends.bytes.data(), ends.size, 0));
}

}  // namespace

OwnDials& OwnDials::of_process() {
  static OwnDials dials;  // its pages are the kernel's zeros until a port is used
  return dials;
}

void OwnDials::add(const ConnectionEnds& ends, ServiceId service) {
  if (ends.size == 0) return;
  std::uint64_t entry = std::uint64_t{hash_of(ends)} << 32 | service;
  by_port_[port_of(ends)].store(entry, std::memory_order_relaxed);
}

std::optional<ServiceId> OwnDials::find(const ConnectionEnds& ends) const {
  if (ends.size == 0) return std::nullopt;
  std::uint64_t entry = by_port_[port_of(ends)].load(std::memory_order_relaxed);
  if (entry == 0 || entry >> 32 != hash_of(ends)) return std::nullopt;
  return static_cast<ServiceId>(entry);
}

}  // namespace cloudbus
