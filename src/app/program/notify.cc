// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/notify.h"

#include <ctime>
#include <string>

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

// sd_notify(3). systemd 253 and newer wait for READY=1 after this.
void notify_reloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  auto microseconds = static_cast<long long>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
  notify(("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(microseconds)).c_str());
}

void notify_ready() { notify("READY=1"); }

void notify_stopping() { notify("STOPPING=1"); }

}  // namespace cloudbus
