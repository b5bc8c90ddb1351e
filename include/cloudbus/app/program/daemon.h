// SPDX-License-Identifier: Apache-2.0
#pragma once

// A whole process: configuration, listeners, workers, signals.

#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "cloudbus/app/config/diff.h"
#include "cloudbus/app/link/sessions.h"
#include "cloudbus/app/program/listeners.h"
#include "cloudbus/app/program/notifier.h"
#include "cloudbus/app/program/options.h"
#include "cloudbus/app/program/pid_file.h"
#include "cloudbus/app/program/reload.h"
#include "cloudbus/app/program/signals.h"
#include "cloudbus/app/worker/worker.h"

namespace cloudbus {

// The main of both programs; returns the exit status.
int run_program(Role role, int argc, char** argv);

class Daemon {
 public:
  // `options` and `passed` outlive it.
  Daemon(const Options& options, PassedSockets& passed, const Config& first);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Takes the first configuration: listens at every bind that is available, and writes the pid file. Returns all that
  // is wrong, each as "FILE:LINE: ..." where it has a line; the other binds are tried again while it runs.
  std::vector<std::string> start(const Config& first);

  // Serves until a signal ends it.
  void run();

 private:
  std::vector<std::string> prepare(const ConfigDiff& diff, Listeners::Failed failed);
  void serve(BindId bind, ServiceId service, int fd, const Address& from);
  void log_start_up();

  // A reload, step by step.
  void reload();
  void on_read(const Reload::Outcome& outcome);
  void refuse(const std::vector<std::string>& errors);
  void apply(const ConfigDiff& diff);
  void on_applied(const ConfigDiff& diff);
  void end_reload();

  void on_signal(int signal);
  void log_unused(std::string_view signal, std::string_view reason) const;
  void terminate();
  void stop_workers();

  const Options& options_;
  std::shared_ptr<const Config> config_;
  Sessions sessions_;
  Shared shared_;
  std::vector<std::unique_ptr<Worker>> workers_;  // the first runs in the main thread, and accepts for all
  std::vector<std::thread> threads_;
  std::unique_ptr<Notifier> notifier_;
  std::unique_ptr<Listeners> listeners_;
  std::unique_ptr<Reload> reload_;
  PidFile pid_file_;
  Signals signals_;
  Time reload_began_{};
  std::size_t unapplied_ = 0;  // workers that have not taken the configuration yet
  std::size_t next_worker_ = 0;
  std::size_t undrained_ = 0;
  bool terminating_ = false;
};

}  // namespace cloudbus
