// SPDX-License-Identifier: Apache-2.0
#pragma once

// Blocks of memory that are filled once, in order, and shared by all that still have to write bytes from them.

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace cloudbus {

class SlabPool;

// References are counted without atomics: a slab never leaves its worker.
class Slab {
 public:
  static constexpr std::size_t kCapacity = 544 * 1024;      // a full read of kMaxFill and its headers, and some control
  static constexpr std::size_t kSmallCapacity = 16 * 1024;  // for the few bytes of one client

  std::byte* data() { return bytes_.get(); }
  std::size_t capacity() const { return capacity_; }
  std::size_t room() const { return capacity_ - used; }
  std::size_t used = 0;

 private:
  friend class SlabRef;
  friend class SlabPool;
  Slab(SlabPool& pool, std::size_t capacity)
      : pool_(pool), bytes_(std::make_unique_for_overwrite<std::byte[]>(capacity)), capacity_(capacity) {}
  SlabPool& pool_;
  std::size_t refs_ = 0;
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t capacity_;
};

class SlabRef {
 public:
  SlabRef() = default;
  explicit SlabRef(Slab* slab) : slab_(slab) { slab_->refs_++; }
  SlabRef(const SlabRef& other) : slab_(other.slab_) {
    if (slab_) slab_->refs_++;
  }
  SlabRef(SlabRef&& other) noexcept : slab_(std::exchange(other.slab_, nullptr)) {}
  SlabRef& operator=(SlabRef other) noexcept {
    std::swap(slab_, other.slab_);
    return *this;
  }
  ~SlabRef() { reset(); }

  void reset();
  Slab* operator->() const { return slab_; }
  explicit operator bool() const { return slab_ != nullptr; }
  bool operator==(const SlabRef& other) const { return slab_ == other.slab_; }

 private:
  Slab* slab_ = nullptr;
};

// Bytes in a slab.
struct Slice {
  SlabRef slab;
  std::size_t offset = 0, size = 0;

  std::byte* data() const { return slab->data() + offset; }
  void remove_front(std::size_t bytes) {
    offset += bytes;
    size -= bytes;
  }
};

// Keeps a few slabs of kCapacity for the next writers, while they are in the cache. Outlives all of its slabs.
class SlabPool {
 public:
  SlabPool() = default;
  SlabPool(const SlabPool&) = delete;
  SlabPool& operator=(const SlabPool&) = delete;
  ~SlabPool();

  SlabRef take();
  SlabRef take_small() { return SlabRef(new Slab(*this, Slab::kSmallCapacity)); }

 private:
  friend class SlabRef;
  static constexpr std::size_t kKept = 8;
  void give_back(Slab* slab);
  std::vector<Slab*> free_;
};

}  // namespace cloudbus
