// SPDX-License-Identifier: Apache-2.0
#pragma once

// Variables of the environment in a value.

#include <string>
#include <string_view>

#include "cloudbus/app/config/values.h"

namespace cloudbus {

// `${NAME}` becomes what the environment has for NAME; that it has nothing is an error. `${NAME:-TEXT}` becomes TEXT
// where NAME is unset or empty. `$${` is a `${` that stays. A `$` before anything else is a `$`.
Parsed<std::string> expand_environment(std::string_view value);

}  // namespace cloudbus
