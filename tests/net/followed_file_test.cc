// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/followed_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

namespace cloudbus {
namespace {

class FollowedFileTest : public testing::Test {
 protected:
  FollowedFileTest() {
    char folder[] = "/tmp/cloudbus-file-XXXXXX";
    folder_ = mkdtemp(folder);
  }
  ~FollowedFileTest() override {
    unlink(path().c_str());
    rmdir(folder_.c_str());
  }

  std::string path() const { return folder_ + "/file"; }
  void write(const std::string& text, const std::string& to) const { std::ofstream(to) << text; }
  void write(const std::string& text) const { write(text, path()); }

  // Until a look finds nothing: the file is older than the steps of the kernel's clock then.
  static void settle(FollowedFile& file) {
    while (file.look()) std::this_thread::yield();
  }

 private:
  std::string folder_;
};

TEST_F(FollowedFileTest, IsAnotherAtTheFirstLook) {
  FollowedFile file(path());
  EXPECT_TRUE(file.look()) << "it is missing";
  EXPECT_FALSE(file.look());
  EXPECT_EQ(file.size(), 0u);
}

TEST_F(FollowedFileTest, IsAnotherWhenItAppearsChangesAndVanishes) {
  FollowedFile file(path());
  settle(file);
  write("one");
  EXPECT_TRUE(file.look());
  EXPECT_EQ(file.size(), 3u);
  settle(file);
  write("three");
  EXPECT_TRUE(file.look());
  EXPECT_EQ(file.size(), 5u);
  settle(file);
  unlink(path().c_str());
  EXPECT_TRUE(file.look());
  EXPECT_FALSE(file.look());
}

TEST_F(FollowedFileTest, IsAnotherWhenItIsReplacedByOneOfTheSameSizeAndTime) {
  write("one");
  FollowedFile file(path());
  settle(file);
  struct stat found {};
  stat(path().c_str(), &found);
  write("two", path() + ".new");
  timespec times[2] = {found.st_atim, found.st_mtim};
  utimensat(AT_FDCWD, (path() + ".new").c_str(), times, 0);
  rename((path() + ".new").c_str(), path().c_str());
  EXPECT_TRUE(file.look());
}

TEST_F(FollowedFileTest, MayHaveChangedAgainWhileItIsYoung) {
  write("one");
  FollowedFile file(path());
  EXPECT_TRUE(file.look());
  write("two");
  EXPECT_TRUE(file.look()) << "whatever the steps of the kernel's clock";
}

TEST_F(FollowedFileTest, IsReadUpToALimit) {
  write(std::string(100'000, 'x'));
  EXPECT_EQ(read_file(path(), 1'000'000).size(), 100'000u);
  EXPECT_EQ(read_file(path(), 1000).size(), 1000u);
  EXPECT_EQ(read_file(path() + ".missing", 1000), "");
}

TEST_F(FollowedFileTest, WhatIsNoRegularFileIsNotWaitedFor) {
  mkfifo(path().c_str(), 0600);
  EXPECT_EQ(read_file(path(), 1000), "");
}

}  // namespace
}  // namespace cloudbus
