// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/version.h"

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

namespace cloudbus {

const char* version() { return PACKAGE_VERSION; }

}  // namespace cloudbus
