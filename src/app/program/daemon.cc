// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/daemon.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>

#include "cloudbus/app/controller/controller.h"
#include "cloudbus/app/link/random_bytes.h"
#include "cloudbus/app/log/log.h"
#include "cloudbus/app/program/notify.h"
#include "cloudbus/app/program/options.h"
#include "cloudbus/app/program/pid_file.h"
#include "cloudbus/app/segment/segment.h"
#include "cloudbus/net/descriptors.h"

namespace cloudbus {
namespace {

constexpr std::uint64_t kFewDescriptors = 4096;
constexpr Duration kLogPauseEvery = std::chrono::seconds(1);

void print_errors(const std::vector<std::string>& errors) {
  for (const std::string& error : errors) fmt::print(stderr, "{}\n", error);
}

std::string_view subject(const Config& config) { return name_of(config.role); }

}  // namespace

int run_program(Role role, int argc, char** argv) {
  auto [options, exit_code] = parse_options(role, argc, argv);
  if (!options) return exit_code;
  auto [loaded, errors] = load_config(role, options->file);
  if (!loaded) {
    print_errors(errors);
    return 1;
  }
  if (options->log_level) loaded->log_level = *options->log_level;
  if (options->pid_file) loaded->pid_file = *options->pid_file;
  if (options->print) fmt::print("{}", to_ini(*loaded));
  if (options->check) fmt::print("{}: ok\n", options->file);
  if (options->print || options->check) return 0;

  auto config = std::make_shared<const Config>(std::move(*loaded));
  log_start(config->log_level, config->log_format);
  Daemon daemon(config);
  if (auto problems = daemon.listen(); !problems.empty()) {
    print_errors(problems);
    return 1;
  }
  PidFile pid_file;
  if (auto error = pid_file.write(config->pid_file); !error.empty()) {
    print_errors({error});
    return 1;
  }
  daemon.run();
  return 0;
}

Daemon::Daemon(std::shared_ptr<const Config> config)
    : config_(std::move(config)), shared_{.boot_id = random_bytes<sizeof(Uuid)>()} {
  std::signal(SIGPIPE, SIG_IGN);
  for (std::size_t i = 0; i < static_cast<std::size_t>(config_->threads); i++) {
    auto worker = std::make_unique<Worker>(config_, shared_, i);
    if (config_->role == Role::Controller)
      worker->set_role(std::make_unique<Controller>(*worker));
    else
      worker->set_role(std::make_unique<Segment>(*worker));
    workers_.push_back(std::move(worker));
  }
}

Daemon::~Daemon() { stop_workers(); }

// --- Listening ---------------------------------------------------------------------------------------------------

std::vector<std::string> Daemon::listen() {
  std::vector<std::string> errors;
  for (const BindConfig& bind : config_->shared_binds) open(bind, config_->socket_mode, nullptr, errors);
  for (const ServiceConfig& service : config_->services)
    for (const BindConfig& bind : service.binds) open(bind, service.socket_mode, &service, errors);
  return errors;
}

void Daemon::open(const BindConfig& bind, mode_t mode, const ServiceConfig* service, std::vector<std::string>& errors) {
  auto opened = ListeningSocket::open(bind.endpoint, mode);
  if (auto* error = std::get_if<std::string>(&opened)) {
    errors.push_back(fmt::format("{}:{}: {}: {}", config_->file, bind.line, bind.endpoint.to_string(), *error));
    return;
  }
  auto on_accept = [this, service](int fd, const Address& peer) { serve(service, fd, peer); };
  listeners_.push_back(std::make_unique<Listener>(workers_.front()->loop(),
                                                  std::get<ListeningSocket>(std::move(opened)), on_accept,
                                                  [this](int error) { log_pause(error); }));
  log_line(LogLevel::Info, service ? service->name : subject(*config_), "listening",
           {{"address", listeners_.back()->endpoint().to_string()}});
}

// Workers take turns: the first one accepts, the others get theirs through their door.
void Daemon::serve(const ServiceConfig* service, int fd, const Address& peer) {
  Worker& worker = *workers_[next_worker_++ % workers_.size()];
  auto task = [this, &worker, service, fd, peer] {
    if (config_->role == Role::Controller)
      static_cast<Controller&>(worker.role()).on_client(*service, fd, peer);
    else
      static_cast<Segment&>(worker.role()).on_link(service, fd, peer);
  };
  if (&worker == workers_.front().get())
    task();
  else
    worker.post(task);
}

void Daemon::log_pause(int error) {
  Time now = workers_.front()->now();
  if (last_pause_logged_ != Time{} && now - last_pause_logged_ < kLogPauseEvery) return;
  last_pause_logged_ = now;
  log_line(LogLevel::Warning, subject(*config_), "cannot accept for the moment; new connections wait",
           {{"error", std::string(std::strerror(error))}});
}

// --- Running -----------------------------------------------------------------------------------------------------

void Daemon::log_start_up() const {
  DescriptorLimit limit = raise_descriptor_limit();
  if (limit.now < kFewDescriptors)
    log_line(LogLevel::Warning, subject(*config_),
             "the limit of descriptors is low: each conversation takes one, one more with a builtin server",
             {{"limit", limit.now}});
  log_line(LogLevel::Info, subject(*config_), "ready",
           {{"services", config_->services.size()},
            {"threads", static_cast<std::uint64_t>(config_->threads)},
            {"descriptors", limit.now},
            {"file", config_->file}});
}

void Daemon::run() {
  watch_signals();
  log_start_up();
  for (std::size_t i = 1; i < workers_.size(); i++) threads_.emplace_back([this, i] { workers_[i]->run(); });
  notify_ready();
  workers_.front()->run();
  stop_workers();
  log_line(LogLevel::Info, subject(*config_), "ended", {});
  log_flush();
}

void Daemon::stop_workers() {
  for (std::size_t i = 0; i < threads_.size(); i++) workers_[i + 1]->post([this, i] { workers_[i + 1]->end_now(); });
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Daemon::watch_signals() {
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) {
    auto watch = std::make_unique<Watch>();
    watch->start(workers_.front()->loop().base(), signal, EV_SIGNAL | EV_PERSIST, on_signal, this);
    signals_.push_back(std::move(watch));
  }
}

void Daemon::on_signal(int signal, short, void* daemon) noexcept {
  auto* self = static_cast<Daemon*>(daemon);
  if (signal == SIGHUP)
    log_line(LogLevel::Warning, subject(*self->config_),
             "this version cannot reload; start it again to read its file again", {});
  else
    self->terminate();
}

void Daemon::terminate() {
  if (terminating_) {
    log_line(LogLevel::Info, subject(*config_), "ends now, by a second signal", {});
    return workers_.front()->end_now();
  }
  terminating_ = true;
  notify_stopping();
  listeners_.clear();
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
