// SPDX-License-Identifier: Apache-2.0
#pragma once

// What is different between two configurations of a daemon, one after the other.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cloudbus/app/config/config.h"

namespace cloudbus {

// A bind, and what is served there.
struct ServedBind {
  BindConfig bind;
  ServiceId service = 0;  // 0: all of a segment's, by name
  mode_t mode = 0;        // of a socket file
  SocketGroup group;      // the same
  std::string subject;    // for the log: the service's name, or the role's

  bool operator==(const ServedBind&) const = default;
};

struct ConfigDiff {
  using Services = std::vector<std::shared_ptr<const ServiceConfig>>;

  std::shared_ptr<const Config> before, after;
  Services added, changed, removed;  // `changed` as they are now
  std::size_t unchanged = 0;
  std::vector<ServedBind> binds_added, binds_changed;  // the address of a bind never changes
  std::vector<BindId> binds_removed;
  // Keys that are different but take another start; `after` has them as they were.
  std::vector<std::string_view> postponed;

  bool is_empty() const { return added.empty() && changed.empty() && removed.empty() && !moves_binds(); }
  bool moves_binds() const { return !binds_added.empty() || !binds_changed.empty() || !binds_removed.empty(); }
};

// A service is the same one as long as it has the same name, a bind as long as it has the same address. Both keep their
// ids; what is new gets new ones. Services that say the same are the very objects of `before` in `after`.
ConfigDiff compare(std::shared_ptr<const Config> before, Config after);

// A configuration without services, with which a daemon begins: it differs from the first one in all of its services.
Config empty_config(const Config& first);

}  // namespace cloudbus
