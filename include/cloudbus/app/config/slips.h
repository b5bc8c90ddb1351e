// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a refused value was perhaps meant to be: quotes, a comment behind a #, a list, another program's way to write an
// address or a unit. A guess counts only where the key takes it.

#include <string>
#include <string_view>
#include <vector>

namespace cloudbus {

struct Slip {
  std::vector<std::string> values;  // one, or a line for each
  std::string_view rule;            // that the value broke; may be empty
};

// The most likely first.
std::vector<Slip> slips_of(std::string_view key, std::string_view value);

// "; perhaps "tcp://127.0.0.1:80" is meant".
std::string perhaps(std::string_view key, const Slip& slip);

}  // namespace cloudbus
