// SPDX-License-Identifier: Apache-2.0
#pragma once

// The servers of one of a segment's services: their addresses, in the order in which a client is to try them, and what
// is known of their health.

#include <string>
#include <unordered_map>
#include <vector>

#include "cloudbus/app/config/config.h"
#include "cloudbus/app/names/directory.h"
#include "cloudbus/core/names/target_choice.h"
#include "cloudbus/core/policy/balance.h"
#include "cloudbus/core/policy/health.h"
#include "cloudbus/net/checker.h"

namespace cloudbus {

class Worker;

class Backends final : private CheckOwner {
 public:
  Backends(Worker& worker, const ServiceConfig& config);
  Backends(const Backends&) = delete;
  Backends& operator=(const Backends&) = delete;

  // Begins to look for the names, and to check the servers where that is asked for.
  void start();
  const ServiceConfig& config() const { return config_; }

  // A server and one of its addresses; without one it is a builtin.
  struct Candidate {
    ServerIndex server;
    Address address;
  };
  // The only one that there is, and ever will be, if so.
  bool is_single() const { return config_.servers.size() == 1 && !config_.servers.front().endpoint.is_name(); }
  // All, the one to be tried first in front; none while names are not known.
  std::vector<Candidate> candidates(std::string_view client);

  void begin(ServerIndex server) { balance_.begin(server); }
  void end(ServerIndex server) { balance_.end(server); }
  void on_connected(const Address& address);
  void on_failed(const Address& address, int error);

 private:
  std::vector<Address> addresses_to_check() noexcept override;
  void on_checked(const Address& address, int error) noexcept override;
  void add_candidates(ServerIndex server, bool is_in, std::vector<Candidate>& result);

  Worker& worker_;
  const ServiceConfig& config_;
  Balance balance_;
  std::vector<Directory::Id> ids_;     // of the servers
  std::vector<TargetChoice> choices_;  // of the servers
  HealthRules rules_;
  std::unordered_map<std::string, Health> health_;  // by address; of those that failed
  Checker checker_;
};

}  // namespace cloudbus
