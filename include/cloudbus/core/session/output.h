// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a session has to write: slices of slabs, in order, ready for one writev.
//
// Payload is read from its socket straight into the place from which it is written, behind a gap for the frame header,
// and is never copied in between. In a session that may be resumed, reliable bytes that were written are kept in the
// same slabs until the peer has acknowledged them: doc/protocol.md, section 9.

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "cloudbus/core/base/bytes.h"
#include "cloudbus/core/session/slab.h"
#include "cloudbus/core/wire/frame.h"

namespace cloudbus {

class Output {
 public:
  static constexpr std::size_t kMaxFill = 512 * 1024;  // bytes of payload for one reserve()
  static constexpr std::size_t kMaxParts = kMaxFill / kMaxPayload + 1;

  // The places for the payload of the next frames, each behind a gap for its header.
  struct Room {
    std::array<iovec, kMaxParts> parts;
    int count = 0;
    std::size_t size = 0;  // bytes of all parts
  };

  explicit Output(SlabPool& pool) : pool_(pool) {}

  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  std::uint64_t taken() const { return taken_; }  // bytes consumed since the start

  // Reliable bytes count in positions, and are written again on the next link if they were lost.
  enum class Kind : std::uint8_t { Reliable, Passing };

  // Appends `size` bytes (at most a header and kMaxControl) and returns the place where they go.
  std::byte* append(std::size_t size, Kind kind = Kind::Reliable);

  // Room for `bytes` of payload or fewer, at most kMaxFill. Valid until the next call of append, reserve or consume.
  Room reserve(std::size_t bytes);

  // Turns the first `bytes` of the last reserve() into DATA frames of `stream`; returns the bytes of the frames.
  std::size_t commit(StreamId stream, std::size_t bytes);

  // Appends DATA frames of `stream` whose payload is the slice, which others may share; returns the bytes of the
  // frames.
  std::size_t share(StreamId stream, const Slice& payload);

  // Fills `out` with what to write next; returns the number of entries.
  int gather(iovec* out, int most) const;

  // The first `bytes` were written.
  void consume(std::size_t bytes);

  // --- What was written ---

  // From here on reliable bytes are kept until release(). Called before the first of them.
  void start_keeping() { keeps_ = true; }
  // Reliable bytes that were written and not released, including those that rewind() put back to be written again.
  std::size_t kept() const { return kept_size_ + rewound_; }
  // Bytes that rewind() put back and that were not written since.
  std::size_t rewound() const { return rewound_; }
  // The first `bytes` of kept() are no longer needed. None of them waits to be written again.
  void release(std::size_t bytes);
  // The link is gone: drops the bytes that are not reliable.
  void drop_passing();
  // All of kept() but its first `skip` bytes will be written again on a new link, behind `opening`, which is not
  // reliable.
  void rewind(std::size_t skip, Bytes opening);

 private:
  struct Piece {
    Slice slice;
    Kind kind;
  };

  void make_room(std::size_t bytes);
  void extend(std::size_t bytes, Kind kind);
  void keep(const Slice& written);
  void leave_slab();

  SlabPool& pool_;
  SlabRef current_;
  std::deque<Piece> pieces_;
  std::size_t size_ = 0;
  std::uint64_t taken_ = 0;
  bool keeps_ = false;
  std::deque<Slice> kept_;
  std::size_t kept_size_ = 0, rewound_ = 0;
};

}  // namespace cloudbus
