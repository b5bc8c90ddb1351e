// SPDX-License-Identifier: Apache-2.0
#pragma once

// What -t can know of this machine, its user and this moment: folders, rights, interfaces, addresses that are in use.
// None of it is a mistake in the file.

#include <string>
#include <vector>

#include "cloudbus/app/config/config.h"

namespace cloudbus {

// Each "FILE:LINE: warning: ...". Nothing is made, and nobody is connected to. Nothing is said of an address that is
// held, or may be, by the daemon of this very file.
std::vector<std::string> machine_warnings(const Config& config);

}  // namespace cloudbus
