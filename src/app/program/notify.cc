// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/notify.h"

#include "config.h"

#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

namespace cloudbus {

namespace {

void notify([[maybe_unused]] const char* state) {
#ifdef HAVE_LIBSYSTEMD
  sd_notify(0, state);
#endif
}

}  // namespace

void notify_ready() { notify("READY=1"); }

void notify_stopping() { notify("STOPPING=1"); }

}  // namespace cloudbus
