// SPDX-License-Identifier: Apache-2.0
#pragma once

// The connection that carries a session: always read, and written once in each turn of the loop.

#include <string>

#include "cloudbus/core/base/bytes.h"
#include "cloudbus/core/session/output.h"
#include "cloudbus/core/session/queue_limit.h"
#include "cloudbus/net/loop.h"

namespace cloudbus {

class LinkOwner {
 public:
  virtual void on_link_readable() noexcept = 0;
  virtual void on_link_writable() noexcept = 0;

 protected:
  ~LinkOwner() = default;
};

class Link {
 public:
  // Takes over a non-blocking socket; one that is still connecting becomes writable once it is connected.
  Link(Loop& loop, int fd, LinkOwner& owner, const SmallTraffic& small);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  enum class Status : unsigned char { Open, Ended, Broken };

  // Reads into `buffer` once; returns what came, which may be nothing. Look at status() afterwards.
  Bytes read(MutableBytes buffer);

  // Writes what the kernel takes. While is_blocked(), on_link_writable() says when to go on. `round_trip` is the RTT of
  // the link, 0 while it is unknown.
  void write(Output& output, Duration round_trip);

  bool is_blocked() const { return blocked_; }
  // Above how many bytes of backlog nothing more is taken in.
  std::size_t most_unwritten() const { return most_unwritten_; }
  Time blocked_since() const { return blocked_since_; }  // valid while is_blocked()
  Status status() const { return status_; }
  int error() const { return error_; }  // errno, when broken
  // For how long the kernel of the other end has acknowledged nothing; 0 for a Unix socket, whose other end is here.
  Duration unacknowledged_for() const;
  bool is_of_this_host() const;  // Unix, or from an address to the same address

  // Calls on_link_writable() when the socket has connected or has failed to; take_error() says which.
  void wait_connected() { block(); }
  int take_error();

  // The caller takes over the socket; nothing may be called afterwards.
  int release();

 private:
  // Less than the windows of two streams, so that a slow link blocks.
  static constexpr std::size_t kMostUnsent = 256 * 1024;

  static void on_readable(int fd, short what, void* owner) noexcept;
  static void on_writable(int fd, short what, void* owner) noexcept;
  void fail(int error);
  void block();
  bool is_overfull(Duration round_trip) const;
  void limit_unwritten(Duration round_trip);
  void limit_unsent();

  Loop& loop_;
  LinkOwner& owner_;
  int fd_;
  bool blocked_ = false;
  Time blocked_since_{};
  QueueLimit queue_limit_;
  std::size_t most_unwritten_ = QueueLimit::kMost;
  std::size_t unsent_ = kMostUnsent;  // bytes, at most, that the kernel has and has not sent
  Status status_ = Status::Open;
  int error_ = 0;
  Watch readable_, writable_;
};

}  // namespace cloudbus
