// SPDX-License-Identifier: Apache-2.0
#pragma once

// The servers of one of a segment's services: their addresses, in the order in which a client is to try them, and what
// is known of their health.

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cloudbus/app/names/directory.h"
#include "cloudbus/app/roster/context.h"
#include "cloudbus/app/service/service.h"
#include "cloudbus/core/names/target_choice.h"
#include "cloudbus/core/policy/health.h"
#include "cloudbus/net/checker.h"

namespace cloudbus {

class Backends final : public Service, private CheckOwner {
 public:
  Backends(Context& context, Directory& directory, ServiceId id);

  // A server and one of its addresses; without one it is a builtin.
  struct Candidate {
    ServerIndex server;
    Address address;
  };
  // The only server, where it has one address that does not change, or is a builtin.
  std::optional<ServerIndex> only() const;
  // The checks say of every address that it cannot be connected to.
  bool is_down() const;
  // All, the one to be tried first in front; none while names are not known.
  std::vector<Candidate> candidates(std::string_view client);

  void begin(ServerIndex server) { balance().begin(server); }
  void end(ServerIndex server) { balance().end(server); }
  void on_connected(const Address& address);
  void on_failed(const Address& address, int error);

 private:
  struct Watched {
    Directory::Id id = 0;
    bool is_lazy = false;
    TargetChoice choice;
  };

  void on_server_added(ServerIndex server) override;
  void on_server_removed(ServerIndex server) override;
  void on_applied() override;
  std::vector<Address> addresses_to_check() noexcept override;
  void on_checked(const Address& address, int error) noexcept override;
  void add_candidates(ServerIndex server, bool is_in, std::vector<Candidate>& result);
  std::vector<Address> addresses() const;
  void forget_health();

  Context& context_;
  Directory& directory_;
  std::vector<Watched> watched_;  // by ServerIndex
  HealthConfig health_config_;    // that checker_ and health_ go by
  HealthRules rules_;
  std::unordered_map<std::string, Health> health_;  // by address; of those that failed
  std::optional<Checker> checker_;
};

}  // namespace cloudbus
