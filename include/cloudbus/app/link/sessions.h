// SPDX-License-Identifier: Apache-2.0
#pragma once

// Where the sessions of a segment's process are that may be resumed: a link arrives at any of its workers.

#include <map>
#include <mutex>
#include <optional>

#include "cloudbus/app/link/links.h"
#include "cloudbus/core/wire/hello.h"
#include "cloudbus/core/wire/proof.h"

namespace cloudbus {

class Sessions {
 public:
  struct Location {
    Loop* loop;        // of its thread
    PeerOwner* owner;  // of that thread
    PeerId peer;
  };

  // All from any thread.
  void add(const SessionKey& key, const Location& location);
  void remove(const Uuid& id);
  // The session that is claimed, when the proof is right. A session that is not here takes as long as a wrong proof.
  std::optional<Location> find(const ResumeClaim& claim, const Proof& proof) const;

 private:
  struct Entry {
    Secret secret;
    Location location;
  };

  mutable std::mutex mutex_;  // guards sessions_
  std::map<Uuid, Entry> sessions_;
};

}  // namespace cloudbus
