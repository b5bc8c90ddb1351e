// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/service/service.h"

#include <algorithm>

namespace cloudbus {

ServiceVersion::ServiceVersion(Service& service, std::shared_ptr<const ServiceConfig> config)
    : service_(service), config_(std::move(config)) {
  service_.versions_++;
}

ServiceVersion::~ServiceVersion() { service_.versions_--; }

void Service::join(Context& context) {
  descriptors_ = context.shared().descriptors.share_of(id_);
  memory_.emplace(Budget::Share{}, context.budget());
}

void Service::apply(std::shared_ptr<const ServiceConfig> config) {
  name_ = config->name;
  config_ = std::move(config);
  current_ = ServiceRef(new ServiceVersion(*this, config_));
  free_slots();

  std::vector<ServerIndex> before = std::exchange(servers_, {});
  std::vector<Balance::Server> balanced;
  for (const ServerConfig& server : config_->servers) {
    auto same = [&](ServerIndex index) { return slots_[index].endpoint == server.endpoint; };
    auto known = std::ranges::find_if(before, same);
    bool is_known = known != before.end();
    ServerIndex index = is_known ? *known : add_slot(server.endpoint);
    if (is_known) before.erase(known);
    servers_.push_back(index);
    balanced.push_back({index, server.endpoint.to_string()});
    if (!is_known) on_server_added(index);
  }
  for (ServerIndex index : before) {
    slots_[index].is_current = false;
    on_server_removed(index);
  }
  balance_.set(config_->balance, balanced);
  on_applied();
}

// A number may be given away again once no conversation can refer to its server: none that is older than the current
// configuration is left.
void Service::free_slots() {
  if (versions_ > 1) return;
  for (Slot& slot : slots_) slot.is_free |= !slot.is_current;
}

ServerIndex Service::add_slot(const Endpoint& endpoint) {
  auto free = std::ranges::find_if(slots_, &Slot::is_free);
  if (free == slots_.end()) free = slots_.emplace(slots_.end());
  *free = {endpoint, true, false};
  return static_cast<ServerIndex>(free - slots_.begin());
}

void Service::retire() {
  is_retired_ = true;
  current_ = {};
}

void Service::remove_servers() {
  for (ServerIndex index : std::exchange(servers_, {})) {
    slots_[index].is_current = false;
    on_server_removed(index);
  }
}

}  // namespace cloudbus
