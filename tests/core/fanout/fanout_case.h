// SPDX-License-Identifier: Apache-2.0
#pragma once

// One fan-out under test: says what it wants done, and what reaches whom, as text that is easy to compare.

#include <fmt/format.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "cloudbus/core/fanout/fanout.h"

namespace cloudbus {

class FanoutCase {
 public:
  FanoutCase(Mode mode, const FanoutLimits& limits, std::vector<ServerIndex> order)
      : fanout(mode, limits, std::move(order), pool, budget) {}
  // Of servers 0 to `servers` - 1, in this order.
  FanoutCase(Mode mode, const FanoutLimits& limits, ServerIndex servers) : FanoutCase(mode, limits, first(servers)) {}

  static std::vector<ServerIndex> first(ServerIndex count) {
    std::vector<ServerIndex> order;
    for (ServerIndex server = 0; server < count; server++) order.push_back(server);
    return order;
  }

  // What is to be done: "open 0; want 0; finish 1; reset 2 lost-race".
  std::string commands() {
    std::string text;
    while (auto command = fanout.next_command()) text += (text.empty() ? "" : "; ") + describe(*command);
    return text;
  }

  // The streams of these legs exist now, or are accepted too.
  FanoutCase& open(std::initializer_list<LegId> legs) {
    for (LegId leg : legs) fanout.on_opened(leg);
    return *this;
  }
  FanoutCase& accept(std::initializer_list<LegId> legs) {
    for (LegId leg : legs) {
      fanout.on_opened(leg);
      fanout.on_accepted(leg);
    }
    return *this;
  }
  // The commands so far are of no interest.
  FanoutCase& go_on() {
    commands();
    return *this;
  }

  // The client's next bytes, read in the turn of a leg, which does not send them yet.
  void read(LegId leg, std::string_view bytes) {
    while (!bytes.empty()) {
      iovec place = fanout.reserve(bytes.size());
      std::memcpy(place.iov_base, bytes.data(), place.iov_len);
      fanout.commit(leg, place.iov_len);
      bytes.remove_prefix(place.iov_len);
    }
  }
  // What a leg sends when it may send so many bytes.
  std::string send(LegId leg, std::size_t most = ~std::size_t{0}) {
    std::string text;
    while (most > 0 && fanout.unsent(leg) > 0) {
      Slice piece = fanout.piece(leg);
      piece.size = std::min(piece.size, most);
      text += as_text({piece.data(), piece.size});
      most -= piece.size;
      fanout.on_sent(leg, piece.size, now);
    }
    return text;
  }

  // What the client gets when so much of a leg's answer arrives. The last `part` bytes belong to a frame that goes on.
  std::string answer(LegId leg, std::string_view bytes, std::size_t part = 0) {
    std::string client;
    auto [deliver, hold] = fanout.on_data(leg, bytes.size(), part);
    if (deliver > 0) client = held(leg, fanout.leg(leg).held.size()) + std::string(bytes.substr(0, deliver));
    std::string_view rest = bytes.substr(deliver, hold);
    if (rest.size() > part) fanout.hold(leg, as_bytes(rest.substr(0, rest.size() - part)), false);
    if (std::size_t last = std::min(rest.size(), part))
      fanout.hold(leg, as_bytes(rest.substr(rest.size() - last)), true);
    return client + released();
  }
  // What the client gets of what was held.
  std::string released() {
    std::string client;
    while (auto release = fanout.release()) client += held(release->leg, release->bytes);
    return client;
  }

  Time now{std::chrono::hours(1)};
  SlabPool pool;
  Budget budget{1024 * 1024 * 1024};
  Fanout fanout;

 private:
  std::string held(LegId leg, std::size_t bytes) {
    std::string text;
    while (bytes > 0) {
      iovec part;
      fanout.leg(leg).held.gather(&part, 1);
      std::size_t size = std::min(bytes, part.iov_len);
      text += as_text({static_cast<const std::byte*>(part.iov_base), size});
      fanout.take_held(leg, size);
      bytes -= size;
    }
    return text;
  }

  static std::string describe(const Fanout::Command& command) {
    using Kind = Fanout::Command::Kind;
    switch (command.kind) {
      case Kind::Open: return fmt::format("open {}", command.leg);
      case Kind::Want: return fmt::format("want {}", command.leg);
      case Kind::Finish: return fmt::format("finish {}", command.leg);
      case Kind::Stop: return fmt::format("stop {} {}", command.leg, name_of(command.code));
      case Kind::Reset: return fmt::format("reset {} {}", command.leg, name_of(command.code));
    }
    return "?";
  }
};

}  // namespace cloudbus
