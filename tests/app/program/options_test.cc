// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/options.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

using std::string;

struct Outcome {
  OptionsResult result;
  string out, err;
};

Outcome run(Role role, std::vector<string> words) {
  words.insert(words.begin(), "program");
  std::vector<char*> argv;
  for (string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  OptionsResult result = parse_options(role, static_cast<int>(words.size()), argv.data());
  string out = testing::internal::GetCapturedStdout();
  return {result, out, testing::internal::GetCapturedStderr()};
}

TEST(Options, TheFileDependsOnTheRole) {
  EXPECT_TRUE(run(Role::Controller, {}).result.options->file.ends_with("/cloudbus/controller.ini"));
  EXPECT_TRUE(run(Role::Segment, {}).result.options->file.ends_with("/cloudbus/segment.ini"));
}

TEST(Options, NothingIsSetByDefault) {
  auto options = run(Role::Segment, {}).result.options;
  ASSERT_TRUE(options);
  EXPECT_FALSE(options->check || options->print || options->log_level || options->pid_file);
}

TEST(Options, EveryFlagIsStored) {
  auto options = run(Role::Controller, {"-f", "a.ini", "-tT", "-l", "Warning", "-p", "x.pid"}).result.options;
  ASSERT_TRUE(options);
  EXPECT_EQ(options->file, "a.ini");
  EXPECT_TRUE(options->check);
  EXPECT_TRUE(options->print);
  EXPECT_EQ(options->log_level, LogLevel::Warning);
  EXPECT_EQ(options->pid_file, "x.pid");
}

TEST(Options, VerboseIsDebugAndTheLastWordCounts) {
  EXPECT_EQ(run(Role::Segment, {"-v"}).result.options->log_level, LogLevel::Debug);
  EXPECT_EQ(run(Role::Segment, {"-v", "-l", "off"}).result.options->log_level, LogLevel::Off);
}

TEST(Options, TheVersionNamesTheProgram) {
  auto outcome = run(Role::Controller, {"-V"});
  EXPECT_FALSE(outcome.result.options);
  EXPECT_EQ(outcome.result.exit_code, 0);
  EXPECT_TRUE(outcome.out.starts_with("controller (cloudbus) ")) << outcome.out;
  EXPECT_EQ(outcome.err, "");
}

TEST(Options, HelpNamesEveryFlag) {
  auto outcome = run(Role::Segment, {"-h"});
  EXPECT_FALSE(outcome.result.options);
  EXPECT_EQ(outcome.result.exit_code, 0);
  for (const char* flag : {"usage: segment", "-f, --file FILE", "-t, --check", "-T, --print", "-l, --log-level LEVEL",
                           "-p, --pid-file PIDFILE", "-v, --verbose", "-V, --version", "-h, --help"}) {
    EXPECT_NE(outcome.out.find(flag), string::npos) << flag;
  }
}

TEST(Options, EveryFlagHasALongName) {
  auto options = run(Role::Controller, {"--file", "a.ini", "--check", "--print", "--log-level=Warning", "--pid-file=x"})
                     .result.options;
  ASSERT_TRUE(options);
  EXPECT_EQ(options->file, "a.ini");
  EXPECT_TRUE(options->check && options->print);
  EXPECT_EQ(options->log_level, LogLevel::Warning);
  EXPECT_EQ(options->pid_file, "x");
  EXPECT_EQ(run(Role::Segment, {"--verbose"}).result.options->log_level, LogLevel::Debug);
  EXPECT_EQ(run(Role::Segment, {"--version"}).out, run(Role::Segment, {"-V"}).out);
  EXPECT_EQ(run(Role::Segment, {"--help"}).out, run(Role::Segment, {"-h"}).out);
}

TEST(Options, BadUsageExitsWith78AndSaysWhy) {
  auto error = [](std::vector<string> words) {
    auto outcome = run(Role::Controller, std::move(words));
    EXPECT_FALSE(outcome.result.options);
    EXPECT_EQ(outcome.result.exit_code, 78);
    EXPECT_EQ(outcome.out, "");
    return outcome.err;
  };
  const string help = "; controller --help lists what is allowed\n";
  EXPECT_EQ(error({"-x"}), "controller: there is no flag \"-x\"" + help);
  EXPECT_EQ(error({"--check", "-tx"}), "controller: there is no flag \"-x\"" + help);
  EXPECT_EQ(error({"-t", "--colour"}), "controller: there is no flag \"--colour\"" + help);
  EXPECT_EQ(error({"--check=yes"}), "controller: the flag \"--check=yes\" takes no value" + help);
  EXPECT_EQ(error({"-f"}), "controller: the flag \"-f\" needs a value" + help);
  EXPECT_EQ(error({"-tf"}), "controller: the flag \"-f\" needs a value" + help);
  EXPECT_EQ(error({"-t", "--file"}), "controller: the flag \"--file\" needs a value" + help);
  EXPECT_EQ(error({"-l", "loud"}), "controller: there is no log level \"loud\"" + help);
  EXPECT_EQ(error({"-l", "warn"}), "controller: there is no log level \"warn\", perhaps warning is meant" + help);
  EXPECT_EQ(error({"-t", "a.ini"}), "controller: \"a.ini\" is not a flag" + help);
}

}  // namespace
}  // namespace cloudbus
