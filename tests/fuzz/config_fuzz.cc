// SPDX-License-Identifier: Apache-2.0
// Any bytes as a configuration: either errors, or a configuration whose effective form reads back as the same.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "cloudbus/app/config/config.h"

namespace {

void require(bool holds, const std::string& text) {
  if (holds) return;
  std::fprintf(stderr, "broken by:\n%s\n", text.c_str());
  std::abort();
}

void check(cloudbus::Role role, std::string_view text) {
  auto first = cloudbus::parse_config(role, "fuzz", text);
  require(first.config.has_value() == first.errors.empty(), std::string(text));
  if (!first.config) return;
  std::string ini = cloudbus::to_ini(*first.config);
  auto second = cloudbus::parse_config(role, "fuzz", ini);
  require(second.config && cloudbus::to_ini(*second.config) == ini, ini);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  check(cloudbus::Role::Controller, text);
  check(cloudbus::Role::Segment, text);
  return 0;
}
