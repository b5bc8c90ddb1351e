// SPDX-License-Identifier: Apache-2.0
#pragma once

// Standard error, written without ever waiting for its reader.
//
// Its own flags stay as they are, because others may have the same open file: a shell's terminal must not become
// non-blocking. So a pipe is opened once more, a socket is asked for each write, and where neither works, poll(2) is
// asked before a write that fits.

#include "cloudbus/app/log/log_buffer.h"

namespace cloudbus {

class StandardError {
 public:
  StandardError();
  ~StandardError();
  StandardError(const StandardError&) = delete;
  StandardError& operator=(const StandardError&) = delete;

  // Writes what is possible now. False when something is left: the reader is slow, or the disk is full. When there is
  // no reader any more, the lines are dropped.
  bool write(LogBuffer& lines);

 private:
  enum class Kind : unsigned char {
    File,    // a write does not wait
    Socket,  // such as the journal's
    Pipe,    // that was opened once more
    Polled,  // a terminal, or a pipe for which that was not allowed
  };

  bool write_some(LogBuffer& lines);

  int fd_ = 2;  // or one of our own for the same file
  Kind kind_ = Kind::File;
};

}  // namespace cloudbus
