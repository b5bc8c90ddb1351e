// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/daemon.h"

#include <fmt/format.h>
#include <sysexits.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "cloudbus/app/controller/controller.h"
#include "cloudbus/app/link/random_bytes.h"
#include "cloudbus/app/log/log.h"
#include "cloudbus/app/program/preflight.h"
#include "cloudbus/app/segment/segment.h"
#include "cloudbus/net/descriptors.h"

namespace cloudbus {
namespace {

constexpr std::uint64_t kFewDescriptors = 4096;

void print_errors(const std::vector<std::string>& errors) {
  for (const std::string& error : errors) fmt::print(stderr, "{}\n", error);
}

std::string_view subject(const Config& config) { return name_of(config.role); }

}  // namespace

int run_program(Role role, int argc, char** argv) {
  auto [options, exit_code] = parse_options(role, argc, argv);
  if (!options) return exit_code;
  if (!options->check && !options->print) Signals::hold();
  PassedSockets passed;
  auto [config, errors] = read_config(role, *options);
  if (!config) {
    print_errors(errors);
    return options->check || options->print ? EXIT_FAILURE : EX_CONFIG;
  }
  if (options->print) fmt::print("{}", to_ini(*config));
  if (options->check) {
    print_errors(machine_warnings(*config));
    fmt::print("{}: ok\n", options->file);
  }
  if (options->print || options->check) return 0;

  log_start(config->log_level, config->log_format);
  for (const std::string& problem : passed.problems()) log_line(LogLevel::Warning, name_of(role), problem, {});
  Daemon daemon(*options, passed, *config);
  if (auto problems = daemon.start(*config); !problems.empty()) {
    print_errors(problems);
    return EX_TEMPFAIL;
  }
  daemon.run();
  return 0;
}

Daemon::Daemon(const Options& options, PassedSockets& passed, const Config& first)
    : options_(options),
      config_(std::make_shared<const Config>(empty_config(first))),
      shared_{.boot_id = random_bytes<sizeof(Uuid)>(), .sessions = sessions_} {
  for (std::size_t i = 0; i < static_cast<std::size_t>(config_->threads); i++) {
    auto worker = std::make_unique<Worker>(config_, shared_, i);
    if (config_->role == Role::Controller)
      worker->set_role(std::make_unique<Controller>(*worker));
    else
      worker->set_role(std::make_unique<Segment>(*worker));
    workers_.push_back(std::move(worker));
  }
  auto on_accept = [this](BindId bind, ServiceId service, int fd, const Address& from) {
    serve(bind, service, fd, from);
  };
  Loop& loop = workers_.front()->loop();
  notifier_ = std::make_unique<Notifier>(loop);
  listeners_ = std::make_unique<Listeners>(loop, config_->role, passed, shared_.descriptors, on_accept);
  reload_ = std::make_unique<Reload>(loop, config_->role, options_,
                                     [this](const Reload::Outcome& outcome) { on_read(outcome); });
}

Daemon::~Daemon() { stop_workers(); }

// --- The configuration -------------------------------------------------------------------------------------------

// The start is a reload from a configuration that has no services, before there are threads.
std::vector<std::string> Daemon::start(const Config& first) {
  ConfigDiff diff = compare(config_, first);
  if (auto errors = prepare(diff, Listeners::Failed::IsTriedAgain); !errors.empty()) return errors;
  for (auto& worker : workers_) worker->apply(diff);
  listeners_->commit(diff);
  config_ = diff.after;
  return {};
}

// What can fail. Nothing is different yet when it does.
std::vector<std::string> Daemon::prepare(const ConfigDiff& diff, Listeners::Failed failed) {
  std::vector<std::string> errors = listeners_->prepare(diff, failed);
  if (!errors.empty()) return errors;
  if (std::string error = pid_file_.write(diff.after->pid_file); !error.empty()) errors.push_back(error);
  return errors;
}

void Daemon::reload() {
  if (terminating_) {
    log_line(LogLevel::Warning, subject(*config_), "drains, and does not read its file again", {});
    return;
  }
  if (!reload_->start(config_)) return;
  reload_began_ = workers_.front()->now();
  notifier_->reloading();
}

void Daemon::on_read(const Reload::Outcome& outcome) {
  if (auto* errors = std::get_if<std::vector<std::string>>(&outcome)) return refuse(*errors);
  const auto& diff = std::get<ConfigDiff>(outcome);
  if (terminating_) return end_reload();
  if (auto errors = prepare(diff, Listeners::Failed::IsRefused); !errors.empty()) {
    listeners_->abandon();
    return refuse(errors);
  }
  apply(diff);
}

void Daemon::refuse(const std::vector<std::string>& errors) {
  for (const std::string& error : errors) log_line(LogLevel::Error, subject(*config_), error, {});
  log_line(LogLevel::Error, subject(*config_), "reload refused; the running configuration stays",
           {{"errors", std::uint64_t{errors.size()}}});
  end_reload();
}

// Who is connected already belongs to what was before, who comes through a new socket to what is then: so the workers
// take the difference between the two.
void Daemon::apply(const ConfigDiff& diff) {
  listeners_->close_unused(diff);
  Worker& first = *workers_.front();
  unapplied_ = workers_.size();
  auto shared = std::make_shared<const ConfigDiff>(diff);
  for (auto& worker : workers_) {
    worker->post([this, &first, &worker = *worker, shared] {
      worker.apply(*shared);
      first.post([this, shared] {
        if (--unapplied_ == 0) on_applied(*shared);
      });
    });
  }
}

void Daemon::on_applied(const ConfigDiff& diff) {
  if (!terminating_) listeners_->commit(diff);
  config_ = diff.after;
  log_start(config_->log_level, config_->log_format);
  for (std::string_view key : diff.postponed)
    log_line(LogLevel::Warning, subject(*config_), "has another value now, which needs a restart",
             {{"key", std::string(key)}});
  log_line(LogLevel::Info, subject(*config_), "reloaded",
           {{"added", std::uint64_t{diff.added.size()}},
            {"removed", std::uint64_t{diff.removed.size()}},
            {"changed", std::uint64_t{diff.changed.size()}},
            {"unchanged", std::uint64_t{diff.unchanged}},
            {"took", workers_.front()->now() - reload_began_}});
  end_reload();
}

void Daemon::end_reload() {
  if (!terminating_) notifier_->ready();
  if (reload_->done()) reload();
}

// --- Clients -----------------------------------------------------------------------------------------------------

// Workers take turns: the first one accepts, the others get theirs through their door.
void Daemon::serve(BindId bind, ServiceId service, int fd, const Address& from) {
  Worker& worker = *workers_[next_worker_++ % workers_.size()];
  auto task = [role = config_->role, &worker, bind, service, fd, from] {
    if (role == Role::Controller)
      static_cast<Controller&>(worker.role()).on_client(service, fd, from);
    else
      static_cast<Segment&>(worker.role()).on_link({service, bind}, fd, from);
  };
  if (&worker == workers_.front().get())
    task();
  else
    worker.post(task);
}

// --- Running -----------------------------------------------------------------------------------------------------

void Daemon::log_start_up() {
  DescriptorLimit limit = raise_descriptor_limit();
  shared_.descriptors.set_limit(limit.now);
  if (limit.now < kFewDescriptors)
    log_line(LogLevel::Warning, subject(*config_),
             "the limit of descriptors is low: each conversation takes one, one more with a builtin server",
             {{"limit", limit.now}});
  log_line(LogLevel::Info, subject(*config_), "ready",
           {{"services", config_->services.size()},
            {"threads", static_cast<std::uint64_t>(config_->threads)},
            {"descriptors", limit.now},
            {"file", config_->file()}});
}

void Daemon::run() {
  signals_.watch(workers_.front()->loop(), [this](int signal) { on_signal(signal); });
  log_start_up();
  for (std::size_t i = 1; i < workers_.size(); i++) threads_.emplace_back([this, i] { workers_[i]->run(); });
  notifier_->ready();
  workers_.front()->run();
  stop_workers();
  log_line(LogLevel::Info, subject(*config_), "ended", {});
  log_finish();
}

void Daemon::stop_workers() {
  for (std::size_t i = 0; i < threads_.size(); i++) workers_[i + 1]->post([this, i] { workers_[i + 1]->end_now(); });
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Daemon::on_signal(int signal) {
  switch (signal) {
    case SIGHUP: return reload();
    case SIGUSR1: return log_unused("SIGUSR1", "there is no log file to open again");
    case SIGUSR2: return log_unused("SIGUSR2", "it is kept for an upgrade of the program");
    default: return terminate();
  }
}

// Other daemons have a use for it.
void Daemon::log_unused(std::string_view signal, std::string_view reason) const {
  log_line(LogLevel::Warning, subject(*config_), "a signal changes nothing here",
           {{"signal", signal}, {"reason", reason}});
}

void Daemon::terminate() {
  if (terminating_) {
    log_line(LogLevel::Info, subject(*config_), "ends now, by a second signal", {});
    return workers_.front()->end_now();
  }
  terminating_ = true;
  notifier_->stopping();
  listeners_->close_all();
  log_line(LogLevel::Info, subject(*config_), "drains", {{"timeout", config_->drain_timeout}});
  undrained_ = workers_.size();
  Worker& first = *workers_.front();
  Time deadline = first.now() + config_->drain_timeout;
  for (auto& worker : workers_) {
    auto on_done = [this, &first] {
      first.post([this, &first] {
        if (--undrained_ == 0) first.end_now();
      });
    };
    worker->post([&worker = *worker, deadline, on_done] { worker.drain(deadline, on_done); });
  }
}

}  // namespace cloudbus
