// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace cloudbus {

// As configure.ac has it, "0.1.0". It is shown by --version and named in HELLO.
const char* version();

}  // namespace cloudbus
