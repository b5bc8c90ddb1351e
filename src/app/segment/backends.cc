// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/segment/backends.h"

#include <algorithm>
#include <cstring>

#include "cloudbus/app/log/client_name.h"
#include "cloudbus/app/log/log.h"
#include "cloudbus/app/worker/worker.h"

namespace cloudbus {
namespace {

std::vector<std::string> names(const ServiceConfig& config) {
  std::vector<std::string> result;
  for (const ServerConfig& server : config.servers) result.push_back(server.endpoint.to_string());
  return result;
}

HealthRules rules(const HealthConfig& health) {
  if (!health.is_active()) return {};
  return {health.fall, health.rise, true};
}

}  // namespace

Backends::Backends(Worker& worker, const ServiceConfig& config)
    : worker_(worker),
      config_(config),
      balance_(config.balance, names(config), worker.index()),
      choices_(config.servers.size()),
      rules_(rules(config.health)),
      checker_(worker.loop(), config.health.every, config.connect_timeout, static_cast<CheckOwner&>(*this)) {}

void Backends::start() {
  bool lazily = config_.refresh == Refresh::Lazy;
  for (const ServerConfig& server : config_.servers) ids_.push_back(worker_.directory().watch(server.endpoint, lazily));
  if (config_.health.is_active()) checker_.start();
}

std::vector<Backends::Candidate> Backends::candidates(std::string_view client) {
  Directory& directory = worker_.directory();
  std::vector<Candidate> result;
  if (config_.refresh == Refresh::Immediate) {
    bool is_asking = false;
    for (Directory::Id id : ids_) is_asking |= directory.renew(id);
    if (is_asking) return result;
  }
  std::vector<ServerIndex> order;
  balance_.order(hash_key(client), worker_.random_bits(), order);
  // Those that failed come last: with all of them out, all are tried.
  for (bool is_in : {true, false})
    for (ServerIndex server : order) add_candidates(server, is_in, result);
  if (!health_.empty() && !result.empty())
    if (auto first = health_.find(result.front().address.to_string()); first != health_.end())
      first->second.begin(worker_.now());
  return result;
}

// The addresses of a server that are in, or those that are out, in their order.
void Backends::add_candidates(ServerIndex server, bool is_in, std::vector<Candidate>& result) {
  const Targets& targets = worker_.directory().targets(ids_[server]);
  std::vector<Address> addresses;
  std::vector<std::uint32_t> record_of;
  for (std::size_t index = 0; index < targets.addresses.size(); index++) {
    const Address& address = targets.addresses[index];
    auto found = health_.empty() ? health_.end() : health_.find(address.to_string());
    if ((found == health_.end() || found->second.is_in(worker_.now())) != is_in) continue;
    addresses.push_back(address);
    record_of.push_back(targets.record_of[index]);
  }
  if (addresses.empty()) return;
  auto draw = [this](std::uint64_t n) { return worker_.random_bits() % n; };
  TargetChoice last_resort;  // which takes no turn of the others
  TargetChoice& choice = is_in ? choices_[server] : last_resort;
  for (std::size_t index : choice.order(record_of, targets.records, draw)) result.push_back({server, addresses[index]});
}

std::vector<Address> Backends::addresses_to_check() noexcept {
  std::vector<Address> result;
  for (ServerIndex server = 0; server < ids_.size(); server++) {
    if (config_.servers[server].endpoint.is_builtin()) continue;
    const std::vector<Address>& addresses = worker_.directory().targets(ids_[server]).addresses;
    result.insert(result.end(), addresses.begin(), addresses.end());
  }
  return result;
}

void Backends::on_checked(const Address& address, int error) noexcept {
  error == 0 ? on_connected(address) : on_failed(address, error);
}

void Backends::on_connected(const Address& address) {
  if (health_.empty()) return;
  auto found = health_.find(address.to_string());
  if (found == health_.end()) return;
  if (found->second.on_success())
    log_line(LogLevel::Info, config_.name, "the server can be connected again", {{"server", found->first}});
  if (found->second.is_well()) health_.erase(found);
}

void Backends::on_failed(const Address& address, int error) {
  std::string name = address.to_string();
  Health& health = health_.try_emplace(name, rules_).first->second;
  if (!health.on_failure(worker_.now())) return;
  Duration retry = rules_.is_checked ? config_.health.every : health.out_for();
  const char* words = is_single() ? "the server failed several times in a row"
                                  : "the server is passed over: it failed several times in a row";
  log_line(LogLevel::Warning, config_.name, words,
           {{"server", name}, {"error", std::string(std::strerror(error))}, {"retry", retry}});
}

}  // namespace cloudbus
