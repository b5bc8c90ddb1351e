// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/roster/context.h"

#include <utility>

namespace cloudbus {
namespace {

std::uint64_t share_of_memory(const Config& config) {
  return config.memory / static_cast<std::uint64_t>(config.threads);
}

}  // namespace

Context::Context(std::shared_ptr<const Config> config, Shared& shared, std::size_t index)
    : config_(std::move(config)),
      shared_(shared),
      index_(index),
      budget_(share_of_memory(*config_)),
      read_buffer_(kReadBuffer) {
  std::random_device device;
  std::seed_seq seed{device(), device(), device(), device()};
  random_.seed(seed);
}

void Context::set_config(std::shared_ptr<const Config> config) {
  config_ = std::move(config);
  budget_.set_limit(share_of_memory(*config_));
}

Uuid Context::new_conversation() {
  auto wall = std::chrono::system_clock::now().time_since_epoch();
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(wall).count();
  return make_uuid_v7(static_cast<std::uint64_t>(ms), {random_(), random_()});
}

}  // namespace cloudbus
