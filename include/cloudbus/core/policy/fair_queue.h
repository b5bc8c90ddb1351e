// SPDX-License-Identifier: Apache-2.0
#pragma once

// Things that wait, each for one of several owners. Owners take turns, whoever has how many; the things of one owner
// keep their order.

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cloudbus {

template <typename Owner, typename Thing>
class FairQueue {
 public:
  using Entry = std::pair<Owner, Thing>;

  bool is_empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }

  void push(const Owner& owner, Thing thing) { queue_of(owner).push_back(std::move(thing)); }
  // Back to where it was taken from.
  void push_front(const Owner& owner, Thing thing) { queue_of(owner).push_front(std::move(thing)); }

  // The first of the next owner whose turn it may be; nothing when there is none.
  template <typename May>
  std::optional<Entry> take(May may) {
    for (std::size_t left = turns_.size(); left > 0; left--) {
      Owner owner = turns_.front();
      turns_.pop_front();
      if (!may(owner)) {
        turns_.push_back(owner);
        continue;
      }
      auto found = queues_.find(owner);
      Entry entry{owner, std::move(found->second.front())};
      found->second.pop_front();
      size_--;
      found->second.empty() ? void(queues_.erase(found)) : turns_.push_back(owner);
      return entry;
    }
    return std::nullopt;
  }
  std::optional<Entry> take() {
    return take([](const Owner&) { return true; });
  }

  // Whether there is an owner whose turn it may be.
  template <typename May>
  bool has(May may) const {
    for (const Owner& owner : turns_)
      if (may(owner)) return true;
    return false;
  }

  // Takes out what `is_it` says, in order of the owners.
  template <typename IsIt>
  std::vector<Entry> take_all(IsIt is_it) {
    std::vector<Entry> taken;
    std::deque<Owner> turns;
    for (const Owner& owner : turns_) {
      std::deque<Thing>& queue = queues_.at(owner);
      std::deque<Thing> kept;
      for (Thing& thing : queue) {
        if (is_it(thing))
          taken.emplace_back(owner, std::move(thing));
        else
          kept.push_back(std::move(thing));
      }
      queue = std::move(kept);
      queue.empty() ? void(queues_.erase(owner)) : turns.push_back(owner);
    }
    turns_ = std::move(turns);
    size_ -= taken.size();
    return taken;
  }

 private:
  std::deque<Thing>& queue_of(const Owner& owner) {
    size_++;
    auto [found, is_new] = queues_.try_emplace(owner);
    if (is_new) turns_.push_back(owner);
    return found->second;
  }

  std::unordered_map<Owner, std::deque<Thing>> queues_;  // none is empty
  std::deque<Owner> turns_;                              // the keys of queues_
  std::size_t size_ = 0;
};

}  // namespace cloudbus
