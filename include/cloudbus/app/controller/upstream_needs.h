// SPDX-License-Identifier: Apache-2.0
#pragma once

// What services want of a server that they share.

#include <algorithm>

#include "cloudbus/app/config/config.h"

namespace cloudbus {

struct UpstreamNeeds {
  int links = 1;           // to each address
  bool has_extra = false;  // links = auto
  bool is_lazy = false;    // its names are renewed in the background
  HealthConfig health{};

  static UpstreamNeeds of(const ServiceConfig& service) {
    return {std::max(service.links, 1), service.links == 0, service.refresh == Refresh::Lazy, service.health};
  }

  // Most of everything: most links, the most frequent checks.
  void add(const UpstreamNeeds& other) {
    links = std::max(links, other.links);
    has_extra |= other.has_extra;
    is_lazy |= other.is_lazy;
    bool is_sooner = !health.is_active() || other.health.every < health.every;
    if (other.health.is_active() && is_sooner) health = other.health;
  }
};

}  // namespace cloudbus
