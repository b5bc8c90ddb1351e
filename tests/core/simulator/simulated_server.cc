// SPDX-License-Identifier: Apache-2.0
#include "core/simulator/simulated_server.h"

#include <algorithm>

namespace cloudbus {

SimulatedServer::SimulatedServer(FanoutWorld& world, Budget& budget, std::uint64_t its_link, std::size_t its_client,
                                 LegId its_leg)
    : OneToOneRelay(world, Flow::Side::Server, budget,
                    fmt::format("the server of leg {} of client {}", its_leg, its_client)),
      link(its_link),
      client(its_client),
      leg(its_leg),
      world_(world) {
  Random& random = world.random;
  SimulatedApplication& app = application;
  app.key = random.below(Content::kPeriod);
  app.to_send = random.chance(20) ? 0 : random.size(world.scale);
  app.burst = world.scale / 300 + random.size(world.scale);
  app.buffer = world.scale / 100 + random.size(random.chance(30) ? 1'000 : 200'000);
  app.is_unix = random.chance(40);
  if (random.chance(8)) app.reset_after = random.below(world.scale);
  if (random.chance(5)) abort_after = random.below(world.scale);
  if (app.is_unix && random.chance(20)) app.deaf_after = random.below(world.scale);
  if (random.chance(20)) app.pause = Duration(random.size(3'000'000));
  if (random.chance(10)) app.stalled_until = world.now + Duration(random.size(20'000'000));
  code = static_cast<StreamCode>(random.below(static_cast<unsigned>(StreamCode::LostRace)));
  refuses = random.chance(15);
  if (refuses)
    code = random.pick({StreamCode::UnknownService, StreamCode::ConnectFailed, StreamCode::ConnectTimeout,
                        StreamCode::Overload, StreamCode::NoDescriptors, StreamCode::GoingAway});
  accepts_at = world.now;
  if (random.chance(30)) accepts_at = world.now + Duration(random.size(1'000'000));
  if (random.chance(5)) accepts_at = Time::max();
  app.waits_for_fin = random.chance(20);
  app.waits_for_bytes = random.chance(40);
  app.never_ends_alone = true;
  if (random.chance(30)) app.not_before = world.now + Duration(random.size(500'000));
  if (!world.eager || !random.chance(70)) return;
  app.to_send = random.size(200);
  app.waits_for_fin = app.waits_for_bytes = false;
  app.is_unix = true;
  if (random.chance(50)) app.deaf_after = 0;
}

bool SimulatedServer::act(Session* session) {
  if (application.not_before > world_.now || released) return false;
  if (is_closed()) {
    released = true;
    if (session) session->release();
    return true;
  }
  if (accepted) return OneToOneRelay::act();
  if (accepts_at > world_.now) return false;
  refuses ? refuse() : accept();
  return true;
}

Time SimulatedServer::next_event() const {
  if (is_done()) return Time::max();
  Time next = next_deadline();
  for (Time at : {application.not_before, application.stalled_until, accepts_at})
    if (at > world_.now) next = std::min(next, at);
  return next;
}

bool SimulatedServer::is_frame_end(std::uint64_t offset) const {
  return offset == 0 || std::ranges::binary_search(frame_ends, offset);
}

std::uint64_t SimulatedServer::whole_frames(std::uint64_t bytes) const {
  auto after = std::ranges::upper_bound(frame_ends, bytes);
  return after == frame_ends.begin() ? 0 : *std::prev(after);
}

}  // namespace cloudbus
