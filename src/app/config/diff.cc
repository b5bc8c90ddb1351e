// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/diff.h"

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace cloudbus {
namespace {

using ByName = std::unordered_map<std::string_view, std::shared_ptr<const ServiceConfig>>;

// Gives the ids of binds away: first to binds that stay where they are, then to those that move to another service.
class BindIds {
 public:
  explicit BindIds(const Config& before) {
    add(before.shared_binds, 0);
    for (const auto& service : before.services) add(service->binds, service->id);
  }

  void keep(BindConfig& bind, ServiceId service) { bind.id = take(bind, &service); }
  void move(BindConfig& bind) {
    if (bind.id == 0) bind.id = take(bind, nullptr);
  }

 private:
  struct Known {
    ServiceId service;
    BindId id;
  };

  void add(const std::vector<BindConfig>& binds, ServiceId service) {
    for (const BindConfig& bind : binds) known_[bind.endpoint.to_string()].push_back({service, bind.id});
  }

  // 0: there is none.
  BindId take(const BindConfig& bind, const ServiceId* service) {
    auto found = known_.find(bind.endpoint.to_string());
    if (found == known_.end()) return 0;
    for (auto one = found->second.begin(); one != found->second.end(); ++one) {
      if (service && one->service != *service) continue;
      BindId id = one->id;
      found->second.erase(one);
      return id;
    }
    return 0;
  }

  std::unordered_map<std::string, std::vector<Known>> known_;
};

void give_ids(std::vector<ServiceConfig>& services, const Config& before, Config& after) {
  BindIds ids(before);
  for (BindConfig& bind : after.shared_binds) ids.keep(bind, 0);
  for (ServiceConfig& service : services)
    for (BindConfig& bind : service.binds) ids.keep(bind, service.id);
  auto finish = [&](BindConfig& bind) {
    ids.move(bind);
    if (bind.id == 0) bind.id = ++after.last_bind;
  };
  for (BindConfig& bind : after.shared_binds) finish(bind);
  for (ServiceConfig& service : services)
    for (BindConfig& bind : service.binds) finish(bind);
}

// By their ids.
std::map<BindId, ServedBind> served_binds(const Config& config) {
  std::map<BindId, ServedBind> binds;
  for (const BindConfig& bind : config.shared_binds)
    binds[bind.id] = {bind, 0, config.socket_mode, config.socket_group, std::string(name_of(config.role))};
  for (const auto& service : config.services)
    for (const BindConfig& bind : service->binds)
      binds[bind.id] = {bind, service->id, service->socket_mode, service->socket_group, service->name};
  return binds;
}

void compare_binds(ConfigDiff& diff) {
  std::map<BindId, ServedBind> before = served_binds(*diff.before);
  for (auto& [id, bind] : served_binds(*diff.after)) {
    auto known = before.extract(id);
    if (!known)
      diff.binds_added.push_back(bind);
    else if (known.mapped() != bind)
      diff.binds_changed.push_back(bind);
  }
  for (const auto& [id, bind] : before) diff.binds_removed.push_back(id);
}

}  // namespace

ConfigDiff compare(std::shared_ptr<const Config> before, Config after) {
  ConfigDiff diff;
  if (after.threads != before->threads) diff.postponed.emplace_back("threads");
  after.threads = before->threads;
  after.last_service = before->last_service;
  after.last_bind = before->last_bind;
  ByName known;
  for (const auto& service : before->services) known.emplace(service->name, service);

  std::vector<ServiceConfig> services;
  services.reserve(after.services.size());
  for (const auto& service : after.services) {
    auto found = known.find(service->name);
    services.push_back(*service);
    services.back().id = found == known.end() ? ++after.last_service : found->second->id;
  }
  give_ids(services, *before, after);

  after.services.clear();
  for (ServiceConfig& service : services) {
    auto found = known.find(service.name);
    if (found != known.end() && static_cast<const ServiceSettings&>(*found->second) == service) {
      after.services.push_back(found->second);
      diff.unchanged++;
    } else {
      after.services.push_back(std::make_shared<const ServiceConfig>(std::move(service)));
      (found == known.end() ? diff.added : diff.changed).push_back(after.services.back());
    }
    if (found != known.end()) known.erase(found);
  }
  for (const auto& service : before->services)
    if (known.contains(service->name)) diff.removed.push_back(service);
  diff.before = std::move(before);
  diff.after = std::make_shared<const Config>(std::move(after));
  compare_binds(diff);
  return diff;
}

Config empty_config(const Config& first) {
  Config empty = first;
  empty.shared_binds.clear();
  empty.services.clear();
  return empty;
}

}  // namespace cloudbus
