// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/connector.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "cloudbus/net/dialer.h"
#include "cloudbus/net/socket_error.h"

namespace cloudbus {

Connector::~Connector() { close_all(); }

void Connector::close_all() {
  delay_.stop();
  for (Try& one : tries_) {
    one.watch.stop();
    if (one.fd >= 0) ::close(std::exchange(one.fd, -1));
  }
}

void Connector::try_next() {
  while (next_ < addresses_.size()) {
    std::size_t index = next_++;
    Dial dialled = dial(addresses_[index]);
    if (dialled.fd >= 0) owner_.on_dialled(index, dialled.fd);
    if (dialled.fd >= 0 && dialled.connected) {
      close_all();
      return owner_.on_connected(index, dialled.fd, false);
    }
    if (dialled.fd >= 0) {
      Try& one = tries_.emplace_back(*this, index, dialled.fd);
      one.watch.start(loop_.base(), one.fd, EV_WRITE, on_writable, &one);
      open_++;
      return wait_for_next();
    }
    last_error_ = dialled.error;
    owner_.on_address_failed(index, dialled.error);
  }
  if (open_ == 0) owner_.on_all_failed(last_error_);
}

void Connector::wait_for_next() {
  delay_.stop();
  if (next_ == addresses_.size()) return;
  auto left = static_cast<std::int64_t>(addresses_.size() - next_ + 1);
  Duration share = std::max(Duration(0), deadline_ - loop_.now()) / left;
  bool is_other_family = addresses_[next_].family() != addresses_[next_ - 1].family();
  delay_.start_timer(loop_.base(), is_other_family ? std::min(share, kFamilyDelay) : share, on_delay, this);
}

void Connector::on_delay(int, short, void* argument) noexcept { static_cast<Connector*>(argument)->try_next(); }

void Connector::on_writable(int, short, void* argument) noexcept {
  Try& one = *static_cast<Try*>(argument);
  one.connector.on_result(one);
}

void Connector::on_result(Try& one) {
  one.watch.stop();
  int error = take_socket_error(one.fd);
  int fd = std::exchange(one.fd, -1);
  open_--;
  if (error == 0 || is_reset_behind_bytes(fd, error)) {
    std::size_t index = one.index;
    for (const Try& other : tries_)  // an earlier address had its time, and this one was faster
      if (other.fd >= 0 && other.index < index) owner_.on_address_failed(other.index, ETIMEDOUT);
    close_all();
    return owner_.on_connected(index, fd, error != 0);
  }
  ::close(fd);
  last_error_ = error;
  owner_.on_address_failed(one.index, error);
  if (next_ < addresses_.size() || open_ == 0) try_next();
}

}  // namespace cloudbus
