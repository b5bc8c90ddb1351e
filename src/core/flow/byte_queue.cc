// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/flow/byte_queue.h"

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

struct ByteQueue::Contents {
  explicit Contents(Budget& its_budget) : budget(its_budget) {}
  ~Contents() {
    while (first) first = std::move(first->next);  // not recursively: the list may be long
    budget.drop(size);
  }

  std::unique_ptr<Chunk> first;
  Chunk* last = nullptr;
  std::size_t size = 0;
  Budget& budget;
};

ByteQueue::ByteQueue() = default;

ByteQueue::~ByteQueue() = default;

std::size_t ByteQueue::size() const { return contents_ ? contents_->size : 0; }

void ByteQueue::push(Bytes bytes, Budget& budget) {
  if (bytes.empty()) return;
  if (!contents_) contents_ = std::make_unique<Contents>(budget);
  auto& [first, last, size, _] = *contents_;
  budget.hold(bytes.size());
  size += bytes.size();
  while (!bytes.empty()) {
    if (!last || last->end == last->capacity) {
      auto chunk = std::make_unique<Chunk>(std::clamp(bytes.size(), Chunk::kSmall, Chunk::kLarge));
      Chunk* added = chunk.get();
      (last ? last->next : first) = std::move(chunk);
      last = added;
    }
    std::size_t part = std::min(bytes.size(), last->capacity - last->end);
    std::memcpy(last->bytes.get() + last->end, bytes.data(), part);
    last->end += part;
    bytes = bytes.subspan(part);
  }
}

int ByteQueue::gather(iovec* out, int most) const {
  int count = 0;
  for (Chunk* chunk = contents_ ? contents_->first.get() : nullptr; chunk && count < most; chunk = chunk->next.get())
    out[count++] = {chunk->bytes.get() + chunk->begin, chunk->end - chunk->begin};
  return count;
}

void ByteQueue::pop(std::size_t bytes) {
  if (bytes == 0) return;
  if (bytes == contents_->size) return contents_.reset();
  contents_->size -= bytes;
  contents_->budget.drop(bytes);
  while (bytes > 0) {
    Chunk& first = *contents_->first;
    std::size_t part = std::min(bytes, first.end - first.begin);
    first.begin += part;
    bytes -= part;
    if (first.begin == first.end) contents_->first = std::move(first.next);
  }
}

}  // namespace cloudbus
