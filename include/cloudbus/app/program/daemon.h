// SPDX-License-Identifier: Apache-2.0
#pragma once

// A whole process: configuration, listeners, workers, signals.

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cloudbus/app/config/config.h"
#include "cloudbus/app/worker/worker.h"
#include "cloudbus/net/listener.h"

namespace cloudbus {

// The main of both programs; returns the exit status.
int run_program(Role role, int argc, char** argv);

class Daemon {
 public:
  explicit Daemon(std::shared_ptr<const Config> config);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Listens at every bind, or returns all that is wrong, each as "FILE:LINE: ...".
  std::vector<std::string> listen();

  // Serves until a signal ends it.
  void run();

 private:
  void open(const BindConfig& bind, mode_t mode, const ServiceConfig* service, std::vector<std::string>& errors);
  void serve(const ServiceConfig* service, int fd, const Address& peer);
  void log_start_up() const;
  void log_pause(int error);
  void watch_signals();
  static void on_signal(int signal, short what, void* daemon) noexcept;
  void terminate();
  void stop_workers();

  std::shared_ptr<const Config> config_;
  Shared shared_;
  std::vector<std::unique_ptr<Worker>> workers_;  // the first runs in the main thread, and accepts for all
  std::vector<std::thread> threads_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::unique_ptr<Watch>> signals_;
  std::size_t next_worker_ = 0;
  std::size_t undrained_ = 0;
  bool terminating_ = false;
  Time last_pause_logged_{};
};

}  // namespace cloudbus
