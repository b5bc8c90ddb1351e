// SPDX-License-Identifier: Apache-2.0
#pragma once

// The builtin servers that run now, one for each conversation.

#include <memory>
#include <unordered_map>
#include <vector>

#include "cloudbus/app/roster/context.h"
#include "cloudbus/app/segment/builtin.h"

namespace cloudbus {

class Builtins {
 public:
  explicit Builtins(Context& context) : context_(context) {}
  Builtins(const Builtins&) = delete;
  Builtins& operator=(const Builtins&) = delete;

  // Serves `fd`, the server's end of a socket pair, and owns it.
  void add(Endpoint::Kind kind, int fd) {
    auto id = context_.new_id();
    builtins_.emplace(id, std::make_unique<Builtin>(context_.loop(), kind, fd, [this, id] { ended_.push_back(id); }));
  }
  void reap() {
    for (std::uint64_t id : ended_) builtins_.erase(id);
    ended_.clear();
  }

 private:
  Context& context_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Builtin>> builtins_;
  std::vector<std::uint64_t> ended_;
};

}  // namespace cloudbus
