// SPDX-License-Identifier: Apache-2.0
#pragma once

// Keys that a section does not have, and what was perhaps meant.

#include <string>
#include <string_view>

#include "cloudbus/app/config/keys.h"

namespace cloudbus {

// Whether a file of the role has this key, in the form of normal_word().
bool is_key(Role role, std::string_view word);

// The error for a key that its section does not have.
std::string unknown_key(Role role, SectionKind kind, std::string_view key);

}  // namespace cloudbus
