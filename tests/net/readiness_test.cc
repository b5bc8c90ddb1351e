// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/readiness.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "cloudbus/net/loop.h"

namespace cloudbus {
namespace {

// A socket that is watched, and its other end.
class Watched : public ReadinessOwner {
 public:
  Watched(Loop& loop, std::array<int, 2> ends) : fd_(ends[0]), other_(ends[1]) {
    EXPECT_TRUE(loop.readiness().add(fd_, *this));
  }
  ~Watched() { close(), close_other(); }

  void on_ready(Ready ready) noexcept override { seen.push_back(ready); }
  void say(std::string_view text) { EXPECT_EQ(::write(other_, text.data(), text.size()), std::ssize(text)); }
  void finish() { ::shutdown(other_, SHUT_WR); }
  void reset() {
    linger abort{1, 0};
    ::setsockopt(other_, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    close_other();
  }
  void close() { ::close(std::exchange(fd_, -1)); }
  void close_other() { ::close(std::exchange(other_, -1)); }

  std::vector<Ready> seen;

 private:
  int fd_, other_;
};

std::array<int, 2> unix_pair() {
  std::array<int, 2> ends;
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()), 0);
  return ends;
}

std::array<int, 2> tcp_pair() {
  int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(listener, plain, size), 0);
  EXPECT_EQ(::listen(listener, 1), 0);
  EXPECT_EQ(::getsockname(listener, plain, &size), 0);
  int other = ::socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_EQ(::connect(other, plain, size), 0);
  int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
  EXPECT_GE(fd, 0);
  ::close(listener);
  return {fd, other};
}

class ReadinessTest : public testing::Test {
 protected:
  // Turns of the loop until `done`, which is asked every 10 ms at the least.
  void turn_until(const std::function<bool()>& done) {
    Time deadline = loop_.now() + std::chrono::seconds(20);
    loop_.run([&] {
      if (done() || loop_.now() >= deadline) return loop_.stop();
      loop_.set_alarm(loop_.now() + std::chrono::milliseconds(10));
    });
    EXPECT_TRUE(done());
  }

  Loop loop_;
};

TEST_F(ReadinessTest, AChangeIsToldOnce) {
  Watched watched(loop_, unix_pair());
  turn_until([&] { return !watched.seen.empty(); });
  EXPECT_TRUE(watched.seen[0].writable);
  EXPECT_FALSE(watched.seen[0].readable);
  EXPECT_EQ(watched.seen.size(), 1u);
}

TEST_F(ReadinessTest, BytesMakeItReadable) {
  Watched watched(loop_, tcp_pair());
  watched.say("x");
  turn_until([&] { return !watched.seen.empty() && watched.seen.back().readable; });
  EXPECT_FALSE(watched.seen.back().ending);
}

TEST_F(ReadinessTest, AnEndStandsBehindTheBytes) {
  Watched local(loop_, unix_pair()), remote(loop_, tcp_pair());
  for (Watched* each : {&local, &remote}) {
    each->say("x");
    each->finish();
  }
  auto is_ending = [](const Watched& each) { return !each.seen.empty() && each.seen.back().ending; };
  turn_until([&] { return is_ending(local) && is_ending(remote); });
  EXPECT_TRUE(local.seen.back().readable);
  EXPECT_TRUE(remote.seen.back().readable);
}

TEST_F(ReadinessTest, ABrokenSocketIsReadableAndWritable) {
  Watched watched(loop_, tcp_pair());
  watched.reset();
  turn_until([&] { return !watched.seen.empty() && watched.seen.back().readable; });
  EXPECT_TRUE(watched.seen.back().writable);
  EXPECT_FALSE(watched.seen.back().ending);
}

TEST_F(ReadinessTest, VeryManyAreAllTold) {
  std::vector<std::unique_ptr<Watched>> all;
  for (int i = 0; i < 300; i++) all.push_back(std::make_unique<Watched>(loop_, unix_pair()));
  for (auto& each : all) each->say("x");
  auto was_told = [](const auto& each) { return !each->seen.empty() && each->seen.back().readable; };
  turn_until([&] { return std::ranges::all_of(all, was_told); });
}

TEST_F(ReadinessTest, HowManyWereReadyIsToldOnce) {
  Watched one(loop_, unix_pair()), two(loop_, unix_pair());
  int count = 0;
  loop_.run([&] {
    count = loop_.readiness().take_count();
    loop_.stop();
  });
  EXPECT_EQ(count, 2);
  EXPECT_EQ(loop_.readiness().take_count(), 0);
}

TEST_F(ReadinessTest, AClosedSocketIsForgotten) {
  Watched closed(loop_, unix_pair()), open(loop_, unix_pair());
  closed.say("x");
  open.say("x");
  closed.close();
  turn_until([&] { return !open.seen.empty(); });
  EXPECT_TRUE(closed.seen.empty());
}

}  // namespace
}  // namespace cloudbus
