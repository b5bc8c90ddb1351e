// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "cloudbus/app/config/config.h"

namespace cloudbus {
namespace {

using std::string;

const string kServer = "server=tcp://127.0.0.1:2\n";

class Include : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/include-" + std::to_string(::getpid());
    std::filesystem::create_directories(folder_ + "/conf.d");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const string& name, const string& text) { std::ofstream(folder_ + "/" + name) << text; }
  ConfigResult load() { return load_config(Role::Controller, folder_ + "/main.ini"); }
  // Without the folder's name.
  std::vector<string> errors() {
    std::vector<string> errors = load().errors;
    for (string& error : errors)
      for (std::size_t at; (at = error.find(folder_ + "/")) != string::npos;) error.erase(at, folder_.size() + 1);
    return errors;
  }
  std::vector<string> services() {
    std::vector<string> names;
    auto result = load();
    EXPECT_EQ(result.errors, std::vector<string>());
    if (result.config)
      for (const auto& service : result.config->services) names.push_back(service->name);
    return names;
  }

  string folder_;
};

string service(const string& name, int port) {
  return "[" + name + "]\nbind=tcp://127.0.0.1:" + std::to_string(port) + "\n" + kServer;
}

TEST_F(Include, FilesAreReadInTheOrderOfTheirNames) {
  write("main.ini", service("A", 10) + "include = conf.d/*.ini\n" + service("Z", 13));
  write("conf.d/20-second.ini", service("C", 12));
  write("conf.d/10-first.ini", service("B", 11));
  write("conf.d/30-not.conf", "what is this\n");
  EXPECT_EQ(services(), (std::vector<string>{"A", "B", "C", "Z"}));
}

TEST_F(Include, AnIncludeMayStandBeforeAnySection) {
  write("main.ini", "include = a.ini\n");
  write("a.ini", service("A", 10));
  EXPECT_EQ(services(), std::vector<string>{"A"});
}

TEST_F(Include, KeysOfAnIncludedFileBelongToTheSectionThatIncludesIt) {
  write("main.ini", "[A]\nbind=tcp://127.0.0.1:10\ninclude=common\nidle_timeout = 7 s\n");
  write("common", kServer + "connect_timeout = 3 s\n");
  auto result = load();
  ASSERT_EQ(result.errors, std::vector<string>());
  EXPECT_EQ(result.config->services[0]->connect_timeout, std::chrono::seconds(3));
  EXPECT_EQ(result.config->services[0]->idle_timeout, std::chrono::seconds(7));
}

TEST_F(Include, ASectionThatBeginsInAFileEndsWithIt) {
  write("main.ini", "[A]\nbind=tcp://127.0.0.1:10\ninclude=b.ini\n" + kServer);
  write("b.ini", service("B", 11));
  auto result = load();
  ASSERT_EQ(result.errors, std::vector<string>());
  EXPECT_EQ(result.config->services[0]->servers.size(), 1u);
  EXPECT_EQ(result.config->services[1]->servers.size(), 1u);
}

TEST_F(Include, APatternIsRelativeToTheFileThatHasIt) {
  write("main.ini", "include = conf.d/outer.ini\n");
  write("conf.d/outer.ini", "include = inner.ini\n");
  write("conf.d/inner.ini", service("A", 10));
  EXPECT_EQ(services(), std::vector<string>{"A"});
}

TEST_F(Include, AnErrorNamesTheFileThatHasIt) {
  write("main.ini", service("A", 10) + "include = conf.d/*\n");
  write("conf.d/b", "\n" + service("B", 11) + "nonsense = 1\n");
  auto found = errors();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(found[0].starts_with("conf.d/b:5: there is no key \"nonsense\"")) << found[0];
}

TEST_F(Include, WhatIsThereTwiceNamesBothFiles) {
  write("main.ini", service("A", 10) + "include = b\n");
  write("b", service("A", 11) + service("B", 10));
  EXPECT_EQ(errors(),
            (std::vector<string>{
                "b:1: [A] was begun in line main.ini:1 already; a section is allowed once",
                "b:5: bind: tcp://127.0.0.1:10 is bound in line main.ini:2 already; an address is allowed once",
            }));
}

TEST_F(Include, AFileThatIsMissingIsAnErrorAndAPatternWithoutFilesIsNot) {
  write("main.ini", service("A", 10) + "include = none.ini\ninclude = conf.d/*.ini\n");
  EXPECT_EQ(errors(), std::vector<string>{"main.ini:4: include: cannot read none.ini: No such file or directory"});
}

TEST_F(Include, AFileThatIncludesItselfIsAnError) {
  write("main.ini", service("A", 10) + "include = b\n");
  write("b", "include = c\n");
  write("c", "include = b\n");
  EXPECT_EQ(errors(), std::vector<string>{"c:1: include: b includes itself"});
}

TEST_F(Include, FilesThatIncludeEachOtherWithoutEndAreAnError) {
  write("main.ini", service("A", 10) + "include = 0\n");
  for (int i = 0; i < 30; i++) write(std::to_string(i), "include = " + std::to_string(i + 1) + "\n");
  EXPECT_EQ(errors(), std::vector<string>{"15:1: include: files include each other more than 16 deep"});
}

TEST_F(Include, VariablesAreExpandedInPatternsAndValues) {
  setenv("CB_PART", "b", 1);
  setenv("CB_PORT", "2", 1);
  write("main.ini", "include = ${CB_PART}\n");
  write("b", "[A]\nbind=tcp://127.0.0.1:10\nserver=tcp://127.0.0.1:${CB_PORT}\n");
  EXPECT_EQ(services(), std::vector<string>{"A"});
  unsetenv("CB_PORT");
  EXPECT_EQ(errors(),
            std::vector<string>{"b:3: server: the environment has no CB_PORT; set it, or write ${CB_PORT:-DEFAULT}"});
}

TEST_F(Include, WhereThereAreNoFilesAnIncludeIsAnError) {
  auto result = parse_config(Role::Controller, "f.ini", service("A", 10) + "include = b\n");
  EXPECT_EQ(result.errors, std::vector<string>{"f.ini:4: include: cannot read b: there are no files here"});
}

}  // namespace
}  // namespace cloudbus
