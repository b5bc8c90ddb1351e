// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/byte_queue.h"

#include <algorithm>
#include <cstring>

namespace cloudbus {

struct ByteQueue::Chunk {
  static constexpr std::size_t kSmall = 2 * 1024, kLarge = 64 * 1024;

  explicit Chunk(std::size_t size) : bytes(std::make_unique_for_overwrite<std::byte[]>(size)), capacity(size) {}

  std::unique_ptr<std::byte[]> bytes;
  std::size_t capacity, begin = 0, end = 0;
  std::unique_ptr<Chunk> next;
};

ByteQueue::ByteQueue() = default;

ByteQueue::~ByteQueue() {
  while (first_) first_ = std::move(first_->next);  // not recursively: the list may be long
  if (budget_) budget_->drop(size_);
}

void ByteQueue::push(Bytes bytes, Budget& budget) {
  budget_ = &budget;
  budget.hold(bytes.size());
  size_ += bytes.size();
  while (!bytes.empty()) {
    if (!last_ || last_->end == last_->capacity) {
      auto chunk = std::make_unique<Chunk>(std::clamp(bytes.size(), Chunk::kSmall, Chunk::kLarge));
      Chunk* added = chunk.get();
      (last_ ? last_->next : first_) = std::move(chunk);
      last_ = added;
    }
    std::size_t part = std::min(bytes.size(), last_->capacity - last_->end);
    std::memcpy(last_->bytes.get() + last_->end, bytes.data(), part);
    last_->end += part;
    bytes = bytes.subspan(part);
  }
}

int ByteQueue::gather(iovec* out, int most) const {
  int count = 0;
  for (Chunk* chunk = first_.get(); chunk && count < most; chunk = chunk->next.get())
    out[count++] = {chunk->bytes.get() + chunk->begin, chunk->end - chunk->begin};
  return count;
}

void ByteQueue::pop(std::size_t bytes) {
  if (bytes == 0) return;
  size_ -= bytes;
  budget_->drop(bytes);
  while (bytes > 0) {
    std::size_t part = std::min(bytes, first_->end - first_->begin);
    first_->begin += part;
    bytes -= part;
    if (first_->begin == first_->end) first_ = std::move(first_->next);
  }
  if (!first_) last_ = nullptr;
}

}  // namespace cloudbus
