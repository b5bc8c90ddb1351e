// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/checker.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "cloudbus/net/dialer.h"
#include "cloudbus/net/socket_error.h"

namespace cloudbus {

Checker::Try::~Try() {
  connected.stop();
  silent.stop();
  ::close(fd);
}

Checker::Checker(Loop& loop, Duration every, Duration patience, CheckOwner& owner)
    : loop_(loop), every_(every), patience_(std::min(every, patience)), owner_(owner) {}

void Checker::on_time(int, short, void* checker) noexcept { static_cast<Checker*>(checker)->begin(); }

void Checker::on_writable(int, short, void* argument) noexcept {
  Try& one = *static_cast<Try*>(argument);
  one.checker.end(one, take_socket_error(one.fd));
}

void Checker::on_silent(int, short, void* argument) noexcept {
  Try& one = *static_cast<Try*>(argument);
  one.checker.end(one, ETIMEDOUT);
}

void Checker::begin() {
  next_.start_timer(loop_.base(), every_, on_time, this);
  for (const Address& address : owner_.addresses_to_check()) {
    Dial dialled = dial(address);
    if (dialled.fd >= 0) {
      Try& one = tries_.emplace_back(*this, address, dialled.fd);
      if (dialled.connected) {
        end(one, 0);
        continue;
      }
      one.connected.start(loop_.base(), one.fd, EV_WRITE, on_writable, &one);
      one.silent.start_timer(loop_.base(), patience_, on_silent, &one);
    } else if (!is_out_of_descriptors(dialled.error) &&
               dialled.error != EAGAIN) {  // EAGAIN: the queue of a Unix server is full
      owner_.on_checked(address, dialled.error);
    }
  }
}

void Checker::end(Try& one, int error) {
  Address address = one.address;
  tries_.remove_if([&one](const Try& other) { return &other == &one; });
  owner_.on_checked(address, error);
}

}  // namespace cloudbus
