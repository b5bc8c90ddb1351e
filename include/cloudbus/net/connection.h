// SPDX-License-Identifier: Apache-2.0
#pragma once

// A stream socket of a client or a backend, non-blocking, with its readiness.
//
// Readiness is edge triggered: on_ready() tells of changes, and the owner remembers what is still readable or writable.

#include <sys/uio.h>

#include <cstddef>

#include "cloudbus/net/loop.h"

namespace cloudbus {

// What came of a read or a write.
enum class Io : unsigned char { Done, Again, End, Broken, NotReading };

struct IoResult {
  Io status;
  std::size_t bytes = 0;
};

class Connection {
 public:
  Connection() = default;
  ~Connection() { close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Takes a non-blocking socket over, a Unix or a TCP one.
  void start(Loop& loop, int fd, bool is_unix, ReadinessOwner& owner);
  bool is_open() const { return fd_ >= 0; }
  bool is_unix() const { return is_unix_; }

  // Reads into `parts`. End: the peer has ended. Broken: reset, or another error.
  IoResult read(iovec* parts, int count);
  // NotReading: a Unix peer that reads no more but may still write. Broken: reset, or another error. `more`: finish()
  // or another write follows at once, so that the last bytes need not go alone.
  IoResult write(iovec* parts, int count, bool more = false);

  // No more will be written: FIN.
  void finish();
  // No more will be read, told to the peer where its kind of socket can be told.
  void stop_reading();

  // The error that is pending on the socket, or that of the last write, or 0; looked at while reading is paused.
  int take_error();
  // With an error of take_error(): something can be read that came before it.
  bool is_reset_behind_bytes(int error) const;
  // Bytes written but not yet taken by the peer's kernel.
  std::size_t unacknowledged() const;

  void close();
  // Closes with a TCP RST.
  void reset();

 private:
  int fd_ = -1;
  short error_ = 0;  // of errno, of a write that failed
  bool is_unix_ = false;
};

}  // namespace cloudbus
