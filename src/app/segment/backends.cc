// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/segment/backends.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cloudbus/app/log/client_name.h"
#include "cloudbus/app/log/log.h"

namespace cloudbus {
namespace {

HealthRules rules(const HealthConfig& health) {
  if (!health.is_active()) return {};
  return {health.fall, health.rise, true};
}

}  // namespace

Backends::Backends(Context& context, Directory& directory, ServiceId id)
    : Service(id, context.index()), context_(context), directory_(directory) {}

// --- Servers come and go -----------------------------------------------------------------------------------------

void Backends::on_server_added(ServerIndex server) {
  if (server >= watched_.size()) watched_.resize(server + 1);
  watched_[server] = {};
  watched_[server].is_lazy = config().refresh == Refresh::Lazy;
  watched_[server].id = directory_.watch(endpoint(server), watched_[server].is_lazy);
}

void Backends::on_server_removed(ServerIndex server) {
  directory_.unwatch(watched_[server].id, watched_[server].is_lazy);
}

void Backends::on_applied() {
  bool is_lazy = config().refresh == Refresh::Lazy;
  for (ServerIndex server : servers()) {
    if (std::exchange(watched_[server].is_lazy, is_lazy) == is_lazy) continue;
    directory_.watch(endpoint(server), is_lazy);
    directory_.unwatch(watched_[server].id, !is_lazy);
  }
  forget_health();
  if (health_config_ == config().health) return;
  health_config_ = config().health;
  rules_ = rules(health_config_);
  health_.clear();
  checker_.reset();
  if (!health_config_.is_active()) return;
  checker_.emplace(context_.loop(), health_config_.every, config().connect_timeout, static_cast<CheckOwner&>(*this));
  checker_->start();
}

// Of addresses that no server has any more.
void Backends::forget_health() {
  std::vector<Address> known = addresses();
  std::erase_if(health_, [&known](const auto& entry) {
    return std::ranges::none_of(known, [&](const Address& address) { return address.to_string() == entry.first; });
  });
}

// --- Candidates --------------------------------------------------------------------------------------------------

std::optional<ServerIndex> Backends::only() const {
  if (servers().size() != 1 || endpoint(servers().front()).is_name()) return std::nullopt;
  return servers().front();
}

bool Backends::is_down() const {
  if (!rules_.is_checked || health_.empty()) return false;
  std::vector<Address> known = addresses();
  return !known.empty() && std::ranges::all_of(known, [this](const Address& address) {
    auto found = health_.find(address.to_string());
    return found != health_.end() && !found->second.is_in(context_.now());
  });
}

std::vector<Backends::Candidate> Backends::candidates(std::string_view client) {
  std::vector<Candidate> result;
  if (config().refresh == Refresh::Immediate) {
    bool is_asking = false;
    for (ServerIndex server : servers()) is_asking |= directory_.renew(watched_[server].id);
    if (is_asking) return result;
  }
  std::vector<ServerIndex> order;
  balance().order(hash_key(client), context_.random_bits(), order);
  // Those that failed come last: with all of them out, all are tried.
  for (bool is_in : {true, false})
    for (ServerIndex server : order) add_candidates(server, is_in, result);
  if (!health_.empty() && !result.empty())
    if (auto first = health_.find(result.front().address.to_string()); first != health_.end())
      first->second.begin(context_.now());
  return result;
}

// The addresses of a server that are in, or those that are out, in their order.
void Backends::add_candidates(ServerIndex server, bool is_in, std::vector<Candidate>& result) {
  const Targets& targets = directory_.targets(watched_[server].id);
  std::vector<Address> addresses;
  std::vector<std::uint32_t> record_of;
  for (std::size_t index = 0; index < targets.addresses.size(); index++) {
    const Address& address = targets.addresses[index];
    auto found = health_.empty() ? health_.end() : health_.find(address.to_string());
    if ((found == health_.end() || found->second.is_in(context_.now())) != is_in) continue;
    addresses.push_back(address);
    record_of.push_back(targets.record_of[index]);
  }
  if (addresses.empty()) return;
  auto draw = [this](std::uint64_t n) { return context_.random_bits() % n; };
  TargetChoice last_resort;  // which takes no turn of the others
  TargetChoice& choice = is_in ? watched_[server].choice : last_resort;
  for (std::size_t index : choice.order(record_of, targets.records, draw)) result.push_back({server, addresses[index]});
}

std::vector<Address> Backends::addresses() const {
  std::vector<Address> result;
  for (ServerIndex server : servers()) {
    if (endpoint(server).is_builtin()) continue;
    const std::vector<Address>& its = directory_.targets(watched_[server].id).addresses;
    result.insert(result.end(), its.begin(), its.end());
  }
  return result;
}

// --- Health ------------------------------------------------------------------------------------------------------

std::vector<Address> Backends::addresses_to_check() noexcept { return addresses(); }

void Backends::on_checked(const Address& address, int error) noexcept {
  error == 0 ? on_connected(address) : on_failed(address, error);
}

void Backends::on_connected(const Address& address) {
  if (health_.empty()) return;
  auto found = health_.find(address.to_string());
  if (found == health_.end()) return;
  if (found->second.on_success())
    log_line(LogLevel::Info, name(), "the server can be connected again", {{"server", found->first}});
  if (found->second.is_well()) health_.erase(found);
}

void Backends::on_failed(const Address& address, int error) {
  std::string text = address.to_string();
  Health& health = health_.try_emplace(text, rules_).first->second;
  if (!health.on_failure(context_.now())) return;
  Duration retry = rules_.is_checked ? health_config_.every : health.out_for();
  const char* words = only() ? "the server failed several times in a row"
                             : "the server is passed over: it failed several times in a row";
  log_line(LogLevel::Warning, name(), words,
           {{"server", text}, {"error", std::string(std::strerror(error))}, {"retry", retry}});
}

}  // namespace cloudbus
