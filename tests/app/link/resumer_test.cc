// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/link/resumer.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <stdexcept>

#include "cloudbus/app/config/config.h"
#include "cloudbus/app/link/peer.h"
#include "cloudbus/app/link/sessions.h"
#include "cloudbus/app/worker/worker.h"

namespace cloudbus {
namespace {

// A listening socket of which nobody accepts.
class Silent {
 public:
  Silent() {
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd_, reinterpret_cast<sockaddr*>(&here), sizeof here) != 0 || listen(fd_, 8) != 0)
      throw std::runtime_error("cannot listen");
  }
  ~Silent() { close(fd_); }
  Silent(const Silent&) = delete;
  Silent& operator=(const Silent&) = delete;

  Address address() const {
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&bound), &size);
    return Address::from_sockaddr(reinterpret_cast<sockaddr*>(&bound), size);
  }

 private:
  int fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
};

TEST(Resumer, ALinkThatFailsInTheTurnInWhichItsSessionIsGivenUpIsForgottenByBoth) {
  auto parsed = parse_config(Role::Controller, "f.ini", "[A]\nbind=tcp://127.0.0.1:1\nserver=tcp://127.0.0.1:2\n");
  ASSERT_TRUE(parsed.config);
  Sessions sessions;
  Shared shared{.boot_id = {}, .sessions = sessions};
  Worker worker(std::make_shared<Config>(*parsed.config), shared, 0);
  Resumer resumer(worker.links());
  Silent segment;
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);

  Peer& lost = worker.links().add(ends[0], false, "lost");
  resumer.start(lost, {segment.address()});
  Peer* other = nullptr;
  worker.links().for_each([&](Peer& peer) {
    if (peer.id() != lost.id()) other = &peer;
  });
  ASSERT_NE(other, nullptr);
  lost.give_up(StreamCode::ResumeTimeout, "no other link in time");
  EXPECT_TRUE(resumer.on_gone(*other));
  EXPECT_FALSE(resumer.on_gone(lost));
  EXPECT_FALSE(resumer.on_gone(lost)) << "nothing is left of it";
  close(ends[1]);
}

}  // namespace
}  // namespace cloudbus
