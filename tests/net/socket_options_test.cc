// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/socket_options.h"

#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <string>

namespace cloudbus {
namespace {

class PreparedSocket {
 public:
  explicit PreparedSocket(const std::string& url) {
    Address address = parse_endpoint(url).endpoint->address;
    fd_ = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    before_ = congestion_control();
    prepare_socket(fd_, address);
  }
  ~PreparedSocket() { ::close(fd_); }

  std::string congestion_control() const {
    char name[16] = "";
    socklen_t size = sizeof name;
    return ::getsockopt(fd_, IPPROTO_TCP, TCP_CONGESTION, name, &size) == 0 ? name : "none";
  }
  const std::string& before() const { return before_; }
  int fd() const { return fd_; }
  bool option(int level, int name) const { return value(level, name) > 0; }
  int value(int level, int name) const {
    int value = 0;
    socklen_t size = sizeof value;
    return ::getsockopt(fd_, level, name, &value, &size) == 0 ? value : -1;
  }

 private:
  int fd_;
  std::string before_;
};

TEST(PrepareSocket, NothingIsPacedOverLoopback) {
  for (const char* url : {"tcp://127.0.0.1:80", "tcp://127.1.2.3:80", "tcp://[::1]:80"})
    EXPECT_EQ(PreparedSocket(url).congestion_control(), "reno") << url;
}

TEST(PrepareSocket, ElsewhereTheSystemsCongestionControlStays) {
  for (const char* url : {"tcp://0.0.0.0:80", "tcp://192.0.2.1:80", "tcp://[::]:80", "tcp://[2001:db8::1]:80"}) {
    PreparedSocket socket(url);
    EXPECT_EQ(socket.congestion_control(), socket.before()) << url;
  }
}

TEST(PrepareSocket, AnUrgentByteStaysAmongTheOthers) {
  for (const char* url : {"tcp://127.0.0.1:80", "tcp://192.0.2.1:80"})
    EXPECT_TRUE(PreparedSocket(url).option(SOL_SOCKET, SO_OOBINLINE)) << url;
}

TEST(SetKeepalive, TellsTheKernelWhatItIsTold) {
  PreparedSocket socket("tcp://192.0.2.1:80");
  EXPECT_FALSE(socket.option(SOL_SOCKET, SO_KEEPALIVE));
  set_keepalive(socket.fd(), {std::chrono::seconds(0)});
  EXPECT_FALSE(socket.option(SOL_SOCKET, SO_KEEPALIVE));
  set_keepalive(socket.fd(), {std::chrono::seconds(90), std::chrono::seconds(7), 4});
  EXPECT_TRUE(socket.option(SOL_SOCKET, SO_KEEPALIVE));
  EXPECT_EQ(socket.value(IPPROTO_TCP, TCP_KEEPIDLE), 90);
  EXPECT_EQ(socket.value(IPPROTO_TCP, TCP_KEEPINTVL), 7);
  EXPECT_EQ(socket.value(IPPROTO_TCP, TCP_KEEPCNT), 4);
}

TEST(PrepareSocket, NoSmallAnswerWaits) {
  for (const char* url : {"tcp://127.0.0.1:80", "tcp://192.0.2.1:80"})
    EXPECT_TRUE(PreparedSocket(url).option(IPPROTO_TCP, TCP_NODELAY)) << url;
}

TEST(PrepareSocket, UnixSocketsAreLeftAlone) { EXPECT_EQ(PreparedSocket("unix:@x").congestion_control(), "none"); }

}  // namespace
}  // namespace cloudbus
