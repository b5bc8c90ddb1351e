// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/session/slab.h"

namespace cloudbus {

void SlabRef::reset() {
  Slab* slab = std::exchange(slab_, nullptr);
  if (slab && --slab->refs_ == 0) slab->pool_.give_back(slab);
}

SlabPool::~SlabPool() {
  for (Slab* slab : free_) delete slab;
}

SlabRef SlabPool::take() {
  if (free_.empty()) return SlabRef(new Slab(*this, Slab::kCapacity));
  Slab* slab = free_.back();
  free_.pop_back();
  slab->used = 0;
  return SlabRef(slab);
}

void SlabPool::give_back(Slab* slab) {
  if (slab->capacity() == Slab::kCapacity && free_.size() < kKept)
    free_.push_back(slab);
  else
    delete slab;
}

}  // namespace cloudbus
