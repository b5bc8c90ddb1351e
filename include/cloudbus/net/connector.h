// SPDX-License-Identifier: Apache-2.0
#pragma once

// Connects to the first of several addresses that accepts: RFC 8305, section 5.
//
// The next address is tried when the one before has failed. While that one is silent, the next is tried after the
// silent one's share of the time, and after at most 250 ms if the next is of another family. Tries that were begun go
// on.

#include <cstddef>
#include <deque>
#include <vector>

#include "cloudbus/net/address.h"
#include "cloudbus/net/loop.h"

namespace cloudbus {

class ConnectorOwner {
 public:
  // The owner takes over the socket. `is_broken`: the socket was already reset, and there are bytes to read before the
  // reset. Here and in on_all_failed() the owner may destroy the connector.
  virtual void on_connected(std::size_t index, int fd, bool is_broken) noexcept = 0;
  virtual void on_address_failed(std::size_t index, int error) noexcept = 0;
  // A socket is being connected, or is connected already; it stays the connector's.
  virtual void on_dialled(std::size_t /*index*/, int /*fd*/) noexcept {}
  // All addresses failed, the last one with this errno.
  virtual void on_all_failed(int error) noexcept = 0;

 protected:
  ~ConnectorOwner() = default;
};

class Connector {
 public:
  static constexpr Duration kFamilyDelay = std::chrono::milliseconds(250);

  // start() may call back at once.
  Connector(Loop& loop, std::vector<Address> addresses, Time deadline, ConnectorOwner& owner)
      : loop_(loop), addresses_(std::move(addresses)), deadline_(deadline), owner_(owner) {}
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  void start() { try_next(); }

 private:
  struct Try {
    Try(Connector& its_connector, std::size_t its_index, int its_fd)
        : connector(its_connector), index(its_index), fd(its_fd) {}
    Connector& connector;
    std::size_t index;
    int fd;
    Watch watch;
  };

  static void on_writable(int fd, short what, void* one_try) noexcept;
  static void on_delay(int fd, short what, void* connector) noexcept;
  void try_next();
  void on_result(Try& one);
  void wait_for_next();
  void close_all();

  Loop& loop_;
  std::vector<Address> addresses_;
  Time deadline_;
  ConnectorOwner& owner_;
  std::deque<Try> tries_;
  std::size_t next_ = 0, open_ = 0;
  int last_error_ = 0;
  Watch delay_;
};

}  // namespace cloudbus
