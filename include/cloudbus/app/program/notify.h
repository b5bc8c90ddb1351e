// SPDX-License-Identifier: Apache-2.0
// Tells the service manager how far the daemon is. Without systemd these do nothing.
#pragma once

namespace cloudbus {

// Every bind is listening; also at the end of a reload, one that was refused too.
void notify_ready();

// The configuration is read again.
void notify_reloading();

// The daemon drains; it takes no new clients.
void notify_stopping();

}  // namespace cloudbus
