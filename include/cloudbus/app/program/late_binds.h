// SPDX-License-Identifier: Apache-2.0
#pragma once

// The binds that were not available when the daemon started: they are tried again while the others serve.

#include <functional>
#include <map>
#include <string>

#include "cloudbus/app/config/diff.h"
#include "cloudbus/core/policy/backoff.h"
#include "cloudbus/net/loop.h"

namespace cloudbus {

class LateBinds {
 public:
  // Listens there from now on, or returns why it cannot.
  using Open = std::function<std::string(const ServedBind&)>;

  LateBinds(Loop& loop, Open open) : loop_(loop), open_(std::move(open)) {}
  LateBinds(const LateBinds&) = delete;
  LateBinds& operator=(const LateBinds&) = delete;

  // It failed with this error. `at` is "FILE:LINE". A warning says so now, and every minute.
  void add(const ServedBind& bind, const std::string& at, const std::string& error);
  // What a reload says of one of them; false if it is none of them.
  bool change(const ServedBind& bind);
  bool remove(BindId id) { return late_.erase(id) > 0; }
  void clear() { late_.clear(); }

 private:
  struct Late {
    ServedBind bind;
    std::string at;
    Backoff backoff;
    Time next, told;
  };

  static void on_time(int fd, short what, void* binds) noexcept;
  void try_again();
  bool try_one(Late& late, Time now);
  void arm();
  static void tell(const Late& late, const std::string& error);

  Loop& loop_;
  Open open_;
  std::map<BindId, Late> late_;
  Watch timer_;
};

}  // namespace cloudbus
