// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/base/uuid.h"

#include "cloudbus/core/base/bytes.h"

namespace cloudbus {

Uuid make_uuid_v7(std::uint64_t unix_ms, const std::array<std::uint64_t, 2>& random) {
  Uuid uuid;
  std::byte* out = store(uuid.data(), unix_ms << 16 | 0x7000 | (random[0] & 0x0FFF));
  store(out, (std::uint64_t{2} << 62) | (random[1] >> 2));
  return uuid;
}

std::string to_string(const Uuid& uuid) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text(36, '-');
  char* out = text.data();
  for (std::size_t i = 0; i < uuid.size(); i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out++;
    auto value = std::to_integer<unsigned>(uuid[i]);
    *out++ = kDigits[value >> 4];
    *out++ = kDigits[value & 15];
  }
  return text;
}

}  // namespace cloudbus
