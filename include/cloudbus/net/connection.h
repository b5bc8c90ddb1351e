// SPDX-License-Identifier: Apache-2.0
#pragma once

// A non-blocking stream socket of a client or a backend, with its readiness.
//
// Readiness is edge triggered: on_ready() tells of changes, and the owner remembers what is still readable or writable.

#include <sys/uio.h>

#include <cstddef>

#include "cloudbus/core/wire/hello.h"
#include "cloudbus/net/loop.h"

namespace cloudbus {

// The result of a read or a write.
enum class Io : unsigned char { Done, Again, End, Broken, NotReading };

struct IoResult {
  Io status;
  std::size_t bytes = 0;
  bool had_descriptors = false;  // with the bytes that were read; they are closed
};

class Connection {
 public:
  Connection() = default;
  ~Connection() { close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Takes over a non-blocking socket, Unix or TCP.
  void start(Loop& loop, int fd, bool is_unix, ReadinessOwner& owner);
  bool is_open() const { return fd_ >= 0; }
  bool is_unix() const { return is_unix_; }

  // Reads into `parts`. End: the peer has ended. Broken: a reset or another error.
  IoResult read(iovec* parts, int count);
  // NotReading: a Unix peer that no longer reads but may still write. Broken: a reset or another error. `more`:
  // finish() or another write follows at once, so that the last bytes can wait for it.
  IoResult write(iovec* parts, int count, bool more = false);

  // Nothing more will be written: FIN.
  void finish();
  // Nothing more will be read. A Unix peer is told so; TCP cannot say it.
  void stop_reading();

  // The pending error of the socket, or the error of the last write, or 0; for use while reading is paused.
  int take_error();
  // With an error of take_error(): bytes that came before the error can still be read.
  bool is_reset_behind_bytes(int error) const;
  // Of TCP, at this end; otherwise 0.
  int local_port() const;
  // Says whose connection it is, for one that was accepted.
  void identify(OpenRequest& request) const;
  // Bytes written but not yet taken by the peer's kernel.
  std::size_t unacknowledged() const;
  // There are such bytes, and for so long the peer's kernel has said nothing at all.
  bool is_unanswered_for(Duration patience) const;

  // close() sends a TCP RST.
  void abort_on_close();
  void close();

 private:
  IoResult read_message(iovec* parts, int count);
  static IoResult read_result(ssize_t got);

  int fd_ = -1;
  short error_ = 0;  // errno of a failed write
  bool is_unix_ = false;
};

}  // namespace cloudbus
