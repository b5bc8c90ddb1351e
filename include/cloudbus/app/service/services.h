// SPDX-License-Identifier: Apache-2.0
#pragma once

// The services of a worker. They come, change and go by the difference between two configurations; a daemon's start is
// the difference to a configuration without services.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cloudbus/app/config/diff.h"
#include "cloudbus/app/roster/roster.h"
#include "cloudbus/app/service/service.h"

namespace cloudbus {

class Services {
 public:
  using Make = std::function<std::unique_ptr<Service>(ServiceId)>;

  // `make` makes a service that has no configuration yet.
  Services(Context& context, Roster& roster, Make make);

  // New and changed services take their configurations. Those that were removed begin nothing any more, and their
  // conversations have as long as a drain to end.
  void apply(const ConfigDiff& diff);

  // Null for one that was removed.
  Service* find(ServiceId id);
  Service* find(std::string_view name);
  template <typename Visit>
  void for_each(Visit visit) {
    for (auto& [id, service] : services_) visit(*service);
  }

  // At the end of a turn: forgets services that are over.
  void reap();

 private:
  struct Retired {
    ServiceId id;
    Time deadline;
  };

  void retire(Service& service, Time deadline);
  void end_late();

  Context& context_;
  Roster& roster_;
  Make make_;
  std::unordered_map<ServiceId, std::unique_ptr<Service>> services_;
  std::map<std::string, Service*, std::less<>> by_name_;  // but those that were removed
  std::vector<Retired> retired_;
  Timer deadline_{context_.timers(), [this] { end_late(); }};
};

}  // namespace cloudbus
