// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/session/output.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace cloudbus {
namespace {

constexpr std::size_t kWorthwhile = 128 * 1024;  // bytes of room in a slab that are worth filling
constexpr std::size_t kWorthSharing = 1024;      // bytes; copying fewer is cheaper than another entry of writev

}  // namespace

void Output::make_room(std::size_t bytes) {
  if (!current_ || bytes > current_->room()) current_ = pool_.take();
}

void Output::extend(std::size_t bytes, Kind kind) {
  auto ends_here = [this](const Slice& slice) {
    return slice.slab == current_ && slice.offset + slice.size == current_->used;
  };
  if (!pieces_.empty() && pieces_.back().kind == kind && ends_here(pieces_.back().slice))
    pieces_.back().slice.size += bytes;
  else
    pieces_.push_back({{current_, current_->used, bytes}, kind});
  current_->used += bytes;
  size_ += bytes;
}

std::byte* Output::append(std::size_t size, Kind kind) {
  make_room(size);
  std::byte* place = current_->data() + current_->used;
  extend(size, kind);
  return place;
}

Output::Room Output::reserve(std::size_t bytes) {
  bytes = std::min(bytes, kMaxFill);
  constexpr std::size_t kHeaders = kMaxParts * kHeaderSize;
  // A shorter read that ends the slab is better than a new slab for each read.
  if (current_ && current_->room() >= kWorthwhile + kHeaders) bytes = std::min(bytes, current_->room() - kHeaders);
  make_room(bytes + kHeaders);
  Room room;
  room.size = bytes;
  std::byte* place = current_->data() + current_->used;
  while (bytes > 0) {
    std::size_t part = std::min(bytes, kMaxPayload);
    room.parts[room.count++] = {place + kHeaderSize, part};
    place += kHeaderSize + part;
    bytes -= part;
  }
  return room;
}

std::size_t Output::commit(StreamId stream, std::size_t bytes) {
  std::size_t total = 0;
  std::byte* place = current_->data() + current_->used;
  while (bytes > 0) {
    std::size_t part = std::min(bytes, kMaxPayload);
    encode(place, {FrameType::Data, 0, static_cast<std::uint16_t>(part), stream});
    place += kHeaderSize + part;
    total += kHeaderSize + part;
    bytes -= part;
  }
  extend(total, Kind::Reliable);
  return total;
}

std::size_t Output::share(StreamId stream, const Slice& payload) {
  std::size_t total = 0;
  for (Slice rest = payload; rest.size > 0;) {
    std::size_t part = std::min(rest.size, kMaxPayload);
    std::size_t inlined = part < kWorthSharing ? part : 0;
    std::byte* place = append(kHeaderSize + inlined);
    place = encode(place, {FrameType::Data, 0, static_cast<std::uint16_t>(part), stream});
    if (inlined > 0) {
      std::memcpy(place, rest.data(), part);
    } else {
      pieces_.push_back({{rest.slab, rest.offset, part}, Kind::Reliable});
      size_ += part;
    }
    rest.remove_front(part);
    total += kHeaderSize + part;
  }
  return total;
}

int Output::gather(iovec* out, int most) const {
  int count = 0;
  for (const Piece& piece : pieces_) {
    if (count == most) break;
    out[count++] = {piece.slice.data(), piece.slice.size};
  }
  return count;
}

void Output::consume(std::size_t bytes) {
  size_ -= bytes;
  taken_ += bytes;
  while (bytes > 0) {
    Piece& first = pieces_.front();
    Slice& slice = first.slice;
    std::size_t taken = std::min(bytes, slice.size);
    if (keeps_ && first.kind == Kind::Reliable) {
      keep({slice.slab, slice.offset, taken});
      rewound_ -= std::min(rewound_, taken);
    }
    slice.remove_front(taken);
    bytes -= taken;
    if (slice.size == 0) pieces_.pop_front();
  }
  leave_slab();
}

// The slab that is being filled goes back to the pool once none of its bytes are needed.
void Output::leave_slab() {
  if (pieces_.empty() && kept_.empty()) current_.reset();
}

// --- What was written --------------------------------------------------------------------------------------------

void Output::keep(const Slice& written) {
  kept_size_ += written.size;
  if (!kept_.empty()) {
    Slice& last = kept_.back();
    if (last.slab == written.slab && last.offset + last.size == written.offset) return void(last.size += written.size);
  }
  kept_.push_back(written);
}

void Output::release(std::size_t bytes) {
  kept_size_ -= bytes;
  while (bytes > 0) {
    Slice& first = kept_.front();
    std::size_t part = std::min(bytes, first.size);
    first.remove_front(part);
    bytes -= part;
    if (first.size == 0) kept_.pop_front();
  }
  leave_slab();
}

void Output::drop_passing() {
  std::erase_if(pieces_, [this](const Piece& piece) {
    if (piece.kind == Kind::Passing) size_ -= piece.slice.size;
    return piece.kind == Kind::Passing;
  });
  leave_slab();
}

void Output::rewind(std::size_t skip, Bytes opening) {
  size_ += kept_size_;
  rewound_ += std::exchange(kept_size_, 0);
  for (; !kept_.empty(); kept_.pop_back()) pieces_.push_front({kept_.back(), Kind::Reliable});
  size_ -= skip;
  rewound_ -= skip;
  while (skip > 0) {
    Slice& first = pieces_.front().slice;
    std::size_t part = std::min(skip, first.size);
    first.remove_front(part);
    skip -= part;
    if (first.size == 0) pieces_.pop_front();
  }
  leave_slab();
  if (opening.empty()) return;
  SlabRef slab = opening.size() <= Slab::kSmallCapacity ? pool_.take_small() : pool_.take();
  std::memcpy(slab->data(), opening.data(), opening.size());
  slab->used = opening.size();
  pieces_.push_front({{slab, 0, opening.size()}, Kind::Passing});
  size_ += opening.size();
}

}  // namespace cloudbus
