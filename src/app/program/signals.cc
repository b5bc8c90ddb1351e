// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/signals.h"

#include <csignal>
#include <utility>

namespace cloudbus {
namespace {

// A broken pipe and a file that may grow no more are errors of a write. SIGTTIN and SIGTTOU would stop a daemon in the
// background of a terminal.
constexpr int kIgnored[] = {SIGPIPE, SIGXFSZ, SIGTTIN, SIGTTOU};
// They would end a process that is not watching yet.
constexpr int kHeld[] = {SIGHUP, SIGUSR1, SIGUSR2};
constexpr int kWatched[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

template <std::size_t Count>
void set_mask(int how, const int (&signals)[Count]) {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : signals) sigaddset(&set, signal);
  pthread_sigmask(how, &set, nullptr);
}

}  // namespace

void Signals::hold() {
  for (int signal : kIgnored) std::signal(signal, SIG_IGN);
  set_mask(SIG_BLOCK, kHeld);
}

// Whoever started the process may have blocked any of them.
void Signals::watch(Loop& loop, OnSignal on_signal) {
  on_signal_ = std::move(on_signal);
  for (int signal : kWatched) {
    auto watch = std::make_unique<Watch>();
    watch->start(loop.base(), signal, EV_SIGNAL | EV_PERSIST, on_event, this);
    watches_.push_back(std::move(watch));
  }
  set_mask(SIG_UNBLOCK, kWatched);
}

void Signals::on_event(int signal, short, void* signals) noexcept {
  static_cast<Signals*>(signals)->on_signal_(signal);
}

}  // namespace cloudbus
