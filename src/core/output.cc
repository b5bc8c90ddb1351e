// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/output.h"

#include <algorithm>
#include <cstring>

namespace cloudbus {
namespace {

constexpr std::size_t kWorthwhile = 128 * 1024;  // bytes of room in a slab for which it is used up
constexpr std::size_t kWorthSharing = 1024;      // bytes; fewer are copied sooner than written from elsewhere

}  // namespace

void Output::make_room(std::size_t bytes) {
  if (!current_ || bytes > current_->room()) current_ = pool_.take();
}

void Output::extend(std::size_t bytes) {
  if (!slices_.empty() && slices_.back().slab == current_)
    slices_.back().size += bytes;  // it ended where these begin: a slab is filled in order
  else
    slices_.push_back({current_, current_->used, bytes});
  current_->used += bytes;
  size_ += bytes;
}

std::byte* Output::append(std::size_t size) {
  make_room(size);
  std::byte* place = current_->data() + current_->used;
  extend(size);
  return place;
}

Output::Room Output::reserve(std::size_t bytes) {
  bytes = std::min(bytes, kMaxFill);
  constexpr std::size_t kHeaders = kMaxParts * kHeaderSize;
  // A shorter read that ends the slab is better than a slab of its own for each read.
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
  extend(total);
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
      slices_.push_back({rest.slab, rest.offset, part});
      size_ += part;
    }
    rest.offset += part;
    rest.size -= part;
    total += kHeaderSize + part;
  }
  return total;
}

int Output::gather(iovec* out, int most) const {
  int count = 0;
  for (const Slice& slice : slices_) {
    if (count == most) break;
    out[count++] = {slice.data(), slice.size};
  }
  return count;
}

void Output::consume(std::size_t bytes) {
  size_ -= bytes;
  taken_ += bytes;
  while (bytes > 0) {
    Slice& first = slices_.front();
    std::size_t taken = std::min(bytes, first.size);
    first.offset += taken;
    first.size -= taken;
    bytes -= taken;
    if (first.size == 0) slices_.pop_front();
  }
  if (slices_.empty()) current_.reset();
}

}  // namespace cloudbus
