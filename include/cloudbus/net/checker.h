// SPDX-License-Identifier: Apache-2.0
#pragma once

// Checks periodically whether addresses accept connections, and closes the connections.

#include <list>
#include <vector>

#include "cloudbus/net/address.h"
#include "cloudbus/net/loop.h"

namespace cloudbus {

class CheckOwner {
 public:
  // The addresses to check now.
  virtual std::vector<Address> addresses_to_check() noexcept = 0;
  // `error` is an errno: 0 when the address was connected, ETIMEDOUT when it was silent.
  virtual void on_checked(const Address& address, int error) noexcept = 0;

 protected:
  ~CheckOwner() = default;
};

class Checker {
 public:
  // `patience`: how long an address may be silent, no longer than `every`.
  Checker(Loop& loop, Duration every, Duration patience, CheckOwner& owner);
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;

  // The first check is at once.
  void start() { begin(); }

 private:
  struct Try {
    Try(Checker& its_checker, const Address& its_address, int its_fd)
        : checker(its_checker), address(its_address), fd(its_fd) {}
    ~Try();
    Checker& checker;
    Address address;
    int fd;
    Watch connected, silent;
  };

  static void on_time(int fd, short what, void* checker) noexcept;
  static void on_writable(int fd, short what, void* one_try) noexcept;
  static void on_silent(int fd, short what, void* one_try) noexcept;
  void begin();
  void end(Try& one, int error);

  Loop& loop_;
  Duration every_, patience_;
  CheckOwner& owner_;
  Watch next_;
  std::list<Try> tries_;
};

}  // namespace cloudbus
