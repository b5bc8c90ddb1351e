// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/listener.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <vector>

#include "cloudbus/net/dialer.h"

namespace cloudbus {
namespace {

class ListeningSocketTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/cloudbus-listener-XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Endpoint endpoint(const std::string& text) { return *parse_endpoint(text).endpoint; }
  std::string path() const { return folder_ + "/s"; }
  Endpoint unix_endpoint() { return endpoint("unix://" + path()); }

  std::string folder_;
};

std::string error_of(const std::variant<ListeningSocket, std::string>& opened) {
  auto* error = std::get_if<std::string>(&opened);
  return error ? *error : "";
}

TEST_F(ListeningSocketTest, PortZeroBecomesTheKernelsChoice) {
  auto opened = ListeningSocket::open(endpoint("tcp://127.0.0.1:0"), {0660});
  ASSERT_EQ(error_of(opened), "");
  EXPECT_NE(std::get<ListeningSocket>(opened).endpoint().address.port(), 0);
}

TEST_F(ListeningSocketTest, APortInUseIsAnError) {
  auto first = ListeningSocket::open(endpoint("tcp://127.0.0.1:0"), {0660});
  auto second = ListeningSocket::open(std::get<ListeningSocket>(first).endpoint(), {0660});
  EXPECT_NE(error_of(second).find("in use"), std::string::npos) << error_of(second);
}

TEST_F(ListeningSocketTest, ASocketFileHasThePermissionsThatWereAskedFor) {
  auto opened = ListeningSocket::open(unix_endpoint(), {0620});
  ASSERT_EQ(error_of(opened), "");
  struct stat info;
  ASSERT_EQ(::stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0620u);
}

TEST_F(ListeningSocketTest, ItsFileGoesWithIt) {
  { auto opened = ListeningSocket::open(unix_endpoint(), {0660}); }
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(ListeningSocketTest, AFileThatSomebodyElsePutThereStays) {
  {
    auto opened = ListeningSocket::open(unix_endpoint(), {0660});
    ::unlink(path().c_str());
    std::ofstream(path()) << "not ours";
  }
  EXPECT_TRUE(std::filesystem::exists(path()));
}

TEST_F(ListeningSocketTest, AStaleSocketFileIsReplaced) {
  int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  Address address = unix_endpoint().address;
  ASSERT_EQ(::bind(fd, address.data(), address.size()), 0);
  ::close(fd);  // its file stays, as after a crash
  EXPECT_EQ(error_of(ListeningSocket::open(unix_endpoint(), {0660})), "");
}

TEST_F(ListeningSocketTest, ALiveSocketIsAnError) {
  auto first = ListeningSocket::open(unix_endpoint(), {0660});
  auto second = ListeningSocket::open(unix_endpoint(), {0660});
  EXPECT_NE(error_of(second).find("in use"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(path()));
}

TEST_F(ListeningSocketTest, AFileThatIsNoSocketIsLeftAlone) {
  std::ofstream(path()) << "precious";
  auto opened = ListeningSocket::open(unix_endpoint(), {0660});
  EXPECT_NE(error_of(opened).find("no socket"), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_regular_file(path()));
}

TEST_F(ListeningSocketTest, AMissingFolderIsNamed) {
  auto opened = ListeningSocket::open(endpoint("unix://" + folder_ + "/none/s"), {0660});
  EXPECT_NE(error_of(opened).find("the folder " + folder_ + "/none does not exist; make it first"), std::string::npos);
  EXPECT_NE(missing_folder("/run/cloudbus/s").find("systemd makes it"), std::string::npos);
  EXPECT_EQ(missing_folder("/run/cloudbus/a/s").find("systemd makes it"), std::string::npos);
}

TEST_F(ListeningSocketTest, ASocketFileGetsTheGroupThatWasAskedFor) {
  auto opened = ListeningSocket::open(unix_endpoint(), {0620, ::getegid()});
  ASSERT_EQ(error_of(opened), "");
  struct stat info {};
  ASSERT_EQ(::stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_gid, ::getegid());
  EXPECT_EQ(info.st_mode & 0777u, 0620u);
}

TEST_F(ListeningSocketTest, ASocketThatWasPassedKeepsItsFile) {
  {
    auto passed = ListeningSocket::open(unix_endpoint(), {0660});
    ASSERT_EQ(error_of(passed), "");
    int fd = std::get<ListeningSocket>(passed).fd();
    EXPECT_TRUE(is_listening_stream(fd));
    {
      auto adopted = ListeningSocket::adopt(fd);
      ASSERT_EQ(error_of(adopted), "");
      EXPECT_NE(std::get<ListeningSocket>(adopted).fd(), fd);
      EXPECT_EQ(std::get<ListeningSocket>(adopted).endpoint(), unix_endpoint());
    }
    EXPECT_TRUE(std::filesystem::exists(path()));
  }
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(ListeningSocketTest, OnlyAStreamThatListensIsOneToAcceptFrom) {
  int silent = ::socket(AF_INET, SOCK_STREAM, 0), packets = ::socket(AF_INET, SOCK_DGRAM, 0);
  EXPECT_FALSE(is_listening_stream(silent));
  EXPECT_FALSE(is_listening_stream(packets));
  EXPECT_FALSE(is_listening_stream(-1));
  ::close(silent);
  ::close(packets);
}

TEST_F(ListeningSocketTest, AListenerPausesWhenDescriptorsRunOutAndGoesOnLater) {
  Loop loop;
  auto opened = ListeningSocket::open(endpoint("tcp://127.0.0.1:0"), {0660});
  ASSERT_EQ(error_of(opened), "");
  Address address = std::get<ListeningSocket>(opened).endpoint().address;
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  int client = dial(address).fd;
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(client);  // every new descriptor would be at least this one
  int accepted = -1, pauses = 0;
  Listener listener(
      loop, std::get<ListeningSocket>(std::move(opened)), [&](int fd, const Address&) { accepted = fd; },
      [&](int error) {
        EXPECT_EQ(error, EMFILE);
        pauses++;
        setrlimit(RLIMIT_NOFILE, &before);
      },
      [] { return true; });
  setrlimit(RLIMIT_NOFILE, &none);
  int turns = 0;
  loop.run([&] {
    turns++;
    if (accepted >= 0) loop.stop();
  });
  EXPECT_EQ(pauses, 1);
  EXPECT_LE(turns, 4) << "a paused listener must not spin";
  ::close(accepted);
  ::close(client);
}

TEST(ListeningSocket, WhoMayNotComeInYetWaits) {
  Loop loop;
  auto opened = ListeningSocket::open(*parse_endpoint("tcp://127.0.0.1:0").endpoint, {});
  ASSERT_EQ(error_of(opened), "");
  Address address = std::get<ListeningSocket>(opened).endpoint().address;
  int client = dial(address).fd;
  int accepted = -1, pauses = 0;
  Listener listener(
      loop, std::get<ListeningSocket>(std::move(opened)), [&](int fd, const Address&) { accepted = fd; },
      [&](int error) {
        EXPECT_EQ(error, 0);
        pauses++;
      },
      [&] { return pauses > 0; });
  loop.run([&] {
    if (accepted >= 0) loop.stop();
  });
  EXPECT_EQ(pauses, 1);
  ::close(accepted);
  ::close(client);
}

}  // namespace
}  // namespace cloudbus
