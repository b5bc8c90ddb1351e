// SPDX-License-Identifier: Apache-2.0
#pragma once

// Where something stands in the files of a configuration.

#include <compare>

namespace cloudbus {

struct SourceLine {
  int file = 0;  // in the list of files; 0 is the one that was named
  int number = 0;

  auto operator<=>(const SourceLine&) const = default;
};

}  // namespace cloudbus
