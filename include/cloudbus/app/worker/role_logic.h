// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a controller and a segment do differently.

#include "cloudbus/app/config/diff.h"
#include "cloudbus/app/link/peer_owner.h"
#include "cloudbus/app/names/directory.h"

namespace cloudbus {

class RoleLogic : public PeerOwner {
 public:
  virtual ~RoleLogic() = default;
  // The configuration is another one: `diff.after`. Once at the start, when all services are new.
  virtual void on_config(const ConfigDiff& diff) = 0;
  // The addresses of an endpoint may have changed.
  virtual void on_targets(Directory::Id) {}
  // Before anything is written in this turn.
  virtual void on_turn_end() {}
  // After what has ended was destroyed.
  virtual void on_reaped() {}
  virtual void on_drain() = 0;
  // Nothing of this role's own is left to wait for.
  virtual bool is_drained() const = 0;
};

}  // namespace cloudbus
