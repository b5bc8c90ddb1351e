// SPDX-License-Identifier: Apache-2.0
#pragma once

// A service while the daemon runs, in one worker. Its configuration may change: a conversation keeps the one that it
// began with, a new conversation gets the newest. The numbers of servers stay as they are while others come and go.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cloudbus/app/config/config.h"
#include "cloudbus/app/roster/context.h"
#include "cloudbus/core/policy/balance.h"

namespace cloudbus {

class Service;

// A configuration of a service, as long as somebody refers to it. All of it is one thread's.
class ServiceVersion {
 public:
  ServiceVersion(Service& service, std::shared_ptr<const ServiceConfig> config);
  ServiceVersion(const ServiceVersion&) = delete;
  ServiceVersion& operator=(const ServiceVersion&) = delete;

  Service& service() const { return service_; }
  const ServiceConfig& config() const { return *config_; }

 private:
  friend class ServiceRef;
  ~ServiceVersion();

  Service& service_;
  std::shared_ptr<const ServiceConfig> config_;
  std::size_t uses_ = 0;
};

// Refers to a version; in one pointer, as there may be very many conversations.
class ServiceRef {
 public:
  ServiceRef() = default;
  explicit ServiceRef(ServiceVersion* version) : version_(version) { version_->uses_++; }
  ServiceRef(const ServiceRef& other) : version_(other.version_) {
    if (version_) version_->uses_++;
  }
  ServiceRef(ServiceRef&& other) noexcept : version_(std::exchange(other.version_, nullptr)) {}
  ServiceRef& operator=(ServiceRef other) noexcept {
    std::swap(version_, other.version_);
    return *this;
  }
  ~ServiceRef() {
    if (version_ && --version_->uses_ == 0) delete version_;
  }

  const ServiceConfig* operator->() const { return &version_->config(); }
  const ServiceConfig& operator*() const { return version_->config(); }
  Service& service() const { return version_->service(); }
  bool operator==(const ServiceRef&) const = default;

 private:
  ServiceVersion* version_ = nullptr;
};

class Service {
 public:
  // `first_server`: where the round robin starts, modulo the number of servers.
  Service(ServiceId id, std::size_t first_server) : id_(id), balance_(first_server) {}
  virtual ~Service() = default;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  ServiceId id() const { return id_; }
  const std::string& name() const { return name_; }

  // The configuration for what begins from here on.
  void apply(std::shared_ptr<const ServiceConfig> config);
  const ServiceRef& current() const { return current_; }
  const ServiceConfig& config() const { return *config_; }

  // What it has of what all services share. Before there are conversations.
  void join(Context& context);
  DescriptorShare& descriptors() { return *descriptors_; }
  Budget& memory() { return *memory_; }

  Balance& balance() { return balance_; }
  // Of the current configuration, in its order.
  std::span<const ServerIndex> servers() const { return servers_; }
  // Of a server that something refers to, though it may have been removed.
  const Endpoint& endpoint(ServerIndex server) const { return slots_[server].endpoint; }
  bool is_current(ServerIndex server) const { return slots_[server].is_current; }

  // It was removed: nothing begins any more. Its servers serve the conversations that have begun.
  void retire();
  // Before it is destroyed.
  void remove_servers();
  bool is_retired() const { return is_retired_; }
  // A conversation of it has begun, or is no more.
  void on_begun() { conversations_++; }
  void on_ended() { conversations_--; }
  std::uint64_t conversations() const { return conversations_; }
  // It was removed, and nothing refers to it any more.
  bool is_over() const { return is_retired_ && versions_ == 0; }

 protected:
  virtual void on_server_added(ServerIndex server) = 0;
  // Nobody is sent to it any more; what refers to it goes on.
  virtual void on_server_removed(ServerIndex server) = 0;
  // The configuration is another one; servers were added and removed.
  virtual void on_applied() {}

 private:
  friend class ServiceVersion;

  struct Slot {
    Endpoint endpoint;
    bool is_current = false;
    bool is_free = false;
  };

  void free_slots();
  ServerIndex add_slot(const Endpoint& endpoint);

  ServiceId id_;
  std::string name_;
  std::shared_ptr<const ServiceConfig> config_;
  ServiceRef current_;  // none when it is retired
  std::size_t versions_ = 0;
  std::uint64_t conversations_ = 0;
  std::shared_ptr<DescriptorShare> descriptors_;
  std::optional<Budget> memory_;
  Balance balance_;
  std::vector<Slot> slots_;  // by ServerIndex
  std::vector<ServerIndex> servers_;
  bool is_retired_ = false;
};

}  // namespace cloudbus
