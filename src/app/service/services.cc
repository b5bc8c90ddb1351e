// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/service/services.h"

#include <algorithm>
#include <utility>

#include "cloudbus/app/log/log.h"

namespace cloudbus {

Services::Services(Context& context, Roster& roster, Make make)
    : context_(context), roster_(roster), make_(std::move(make)) {}

void Services::apply(const ConfigDiff& diff) {
  Time deadline = context_.now() + diff.after->drain_timeout;
  for (const auto& config : diff.removed) retire(*services_.at(config->id), deadline);
  for (const auto& config : diff.added) {
    std::unique_ptr<Service>& service = services_[config->id];
    service = make_(config->id);
    service->join(context_);
    service->apply(config);
    by_name_[config->name] = service.get();
  }
  for (const auto& config : diff.changed) services_.at(config->id)->apply(config);
}

Service* Services::find(ServiceId id) {
  auto found = services_.find(id);
  return found == services_.end() || found->second->is_retired() ? nullptr : found->second.get();
}

Service* Services::find(std::string_view name) {
  auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

// --- Removing ----------------------------------------------------------------------------------------------------

void Services::retire(Service& service, Time deadline) {
  by_name_.erase(service.name());
  service.retire();
  retired_.push_back({service.id(), deadline});
  if (service.conversations() == 0) return;
  log_line(LogLevel::Info, service.name(), "was removed; its conversations go on",
           {{"conversations", service.conversations()}, {"timeout", deadline - context_.now()}});
  if (deadline < deadline_.deadline()) deadline_.set(deadline);
}

void Services::end_late() {
  Time now = context_.now(), next = Time::max();
  for (const Retired& retired : retired_) {
    auto found = services_.find(retired.id);
    if (found == services_.end() || found->second->is_over()) continue;
    if (retired.deadline > now) {
      next = std::min(next, retired.deadline);
      continue;
    }
    log_line(LogLevel::Warning, found->second->name(), "was removed; its conversations are ended",
             {{"conversations", found->second->conversations()}});
    roster_.for_each([&](Conversation& conversation) {
      if (conversation.service() == retired.id && !conversation.is_closed())
        conversation.abort(StreamCode::DrainTimeout);
    });
  }
  deadline_.set(next);
}

void Services::reap() {
  std::erase_if(retired_, [this](const Retired& retired) {
    auto found = services_.find(retired.id);
    if (!found->second->is_over()) return false;
    found->second->remove_servers();
    services_.erase(found);
    return true;
  });
}

}  // namespace cloudbus
