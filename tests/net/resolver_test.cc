// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/net/resolver.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace cloudbus {
namespace {

constexpr int kTypeA = 1, kTypeAaaa = 28;

// A DNS server that keeps what it is asked until it is told to answer.
class Server {
 public:
  struct Question {
    std::string message, name;
    int type = 0;
    sockaddr_in from{};
  };

  Server() : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&in), sizeof in), 0);
    socklen_t size = sizeof address_;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address_), &size);
  }
  ~Server() { ::close(fd_); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::string address() const { return "127.0.0.1:" + std::to_string(ntohs(address_.sin_port)); }

  // Takes what has come.
  void read() {
    while (true) {
      Question question;
      char buffer[1500];
      socklen_t size = sizeof question.from;
      ssize_t count = ::recvfrom(fd_, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&question.from), &size);
      if (count < 12) return;
      std::size_t at = 12;
      while (buffer[at] != 0) {
        auto length = static_cast<std::size_t>(buffer[at]);
        question.name += (question.name.empty() ? "" : ".") + std::string(buffer + at + 1, length);
        at += 1 + length;
      }
      question.type = buffer[at + 2];
      question.message.assign(buffer, at + 5);
      if (asked.insert(question.message.substr(0, 2) + question.name + static_cast<char>(question.type)).second)
        open.push_back(std::move(question));
    }
  }

  // With 10.0.0.1, or that there are no IPv6 addresses.
  void answer(const Question& question) const {
    std::string message = question.message;
    message[2] = '\x81', message[3] = '\x80', message[7] = question.type == kTypeA, message[11] = 0;
    if (question.type == kTypeA) message += std::string("\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0\1", 16);
    ::sendto(fd_, message.data(), message.size(), 0, reinterpret_cast<const sockaddr*>(&question.from),
             sizeof question.from);
  }
  void answer_all() {
    for (const Question& question : std::exchange(open, {})) answer(question);
  }

  std::vector<Question> open;   // that it has not answered, each once
  std::set<std::string> asked;  // whatever was sent again

 private:
  int fd_;
  sockaddr_in address_{};
};

class ResolverTest : public testing::Test {
 protected:
  static constexpr std::size_t kMost = 20;
  struct Step {  // waits for `until`, then does `then`
    std::function<bool()> until;
    std::function<void()> then = [] {};
  };

  void ask(std::uint64_t token, Resolver::Line line = Resolver::Line::First) {
    resolver.ask(Resolver::Kind::Host, "name" + std::to_string(token) + ".test", token, line);
  }

  void run(std::vector<Step> steps) {
    std::size_t at = 0;
    const Time end = loop.now() + std::chrono::seconds(10);
    loop.run([&] {
      server.read();
      other.read();
      for (Resolver::Answer& answer : resolver.take_answers()) answers[answer.token] = std::move(answer);
      while (at < steps.size() && steps[at].until()) steps[at++].then();
      if (at == steps.size() || loop.now() >= end) return loop.stop();
      tick_.start_timer(
          loop.base(), std::chrono::milliseconds(1), [](int, short, void*) {}, nullptr);
    });
    EXPECT_EQ(at, steps.size()) << "waited in vain";
  }

  // A condition: nothing else happens for a while.
  std::function<bool()> a_while() {
    return [this, end = std::make_shared<Time>()] {
      if (*end == Time{}) *end = loop.now() + std::chrono::milliseconds(50);
      return loop.now() >= *end;
    };
  }
  std::function<bool()> asked(std::size_t count) {
    return [this, count] { return server.asked.size() >= count; };
  }
  std::function<bool()> answered(std::size_t count) {
    return [this, count] { return answers.size() >= count; };
  }

  Loop loop;
  Server server, other;
  Resolver resolver{loop, server.address(), kMost};
  std::map<std::uint64_t, Resolver::Answer> answers;  // the last of each token

 private:
  Watch tick_;
};

TEST_F(ResolverTest, NoMoreQueriesThanAllowedAreUnderWayAndAllAreAnswered) {
  for (std::uint64_t token = 1; token <= 200; token++) ask(token);
  std::size_t most_open = 0;
  run({{asked(kMost)}, {a_while(), [&] { EXPECT_EQ(server.open.size(), kMost); }}, {[&] {
         most_open = std::max(most_open, server.open.size());
         server.answer_all();
         return answers.size() == 200;
       }}});
  EXPECT_LE(most_open, kMost);
  for (auto& [token, answer] : answers) EXPECT_EQ(answer.status, Resolver::Status::Found) << token << answer.error;
}

TEST_F(ResolverTest, WhatWaitsIsAskedInItsOrder) {
  for (std::uint64_t token = 1; token <= 30; token++) ask(token);
  std::vector<std::string> order;
  run({{[&] {
    for (const Server::Question& question : server.open)
      if (question.type == kTypeA) order.push_back(question.name);
    server.answer_all();
    return answers.size() == 30;
  }}});
  ASSERT_EQ(order.size(), 30u);
  for (std::size_t i = 0; i < order.size(); i++) EXPECT_EQ(order[i], "name" + std::to_string(i + 1) + ".test");
}

TEST_F(ResolverTest, NamesThatFailedBeforeLeaveHalfToOthers) {
  for (std::uint64_t token = 1; token <= 50; token++) ask(token, Resolver::Line::Again);
  run({{asked(kMost / 2)},
       {a_while(),
        [&] {
          EXPECT_EQ(server.open.size(), kMost / 2);
          for (std::uint64_t token = 101; token <= 150; token++) ask(token);
        }},
       {asked(kMost)},
       {a_while(),
        [&] {
          EXPECT_EQ(server.open.size(), kMost);
          // Only the others are answered, and all of them.
          std::erase_if(server.open, [](const Server::Question& question) { return question.name.size() < 12; });
        }},
       {[&] {
         std::erase_if(server.open, [](const Server::Question& question) { return question.name.size() < 12; });
         server.answer_all();
         return answers.size() == 50;
       }}});
  EXPECT_EQ(answers.begin()->first, 101u);
}

TEST_F(ResolverTest, WhatIsNotWantedAnyMoreIsNotAsked) {
  for (std::uint64_t token = 1; token <= 20; token++) ask(token);
  for (std::uint64_t token = 11; token <= 19; token++) resolver.forget(token);
  run({{[&] {
    server.answer_all();
    return answers.size() == 11;
  }}});
  EXPECT_EQ(server.asked.size(), 22u);
  EXPECT_TRUE(answers.contains(20));
}

TEST_F(ResolverTest, OtherServersAreAskedForWhatIsUnderWayAndForWhatWaits) {
  for (std::uint64_t token = 1; token <= 30; token++) ask(token);
  run({{asked(kMost), [&] { resolver.set_servers(other.address()); }}, {[&] {
         other.answer_all();
         return answers.size() == 30;
       }}});
  EXPECT_EQ(other.asked.size(), 60u);
  EXPECT_EQ(server.asked.size(), kMost);
  EXPECT_TRUE(resolver.take_change().servers);
  EXPECT_FALSE(resolver.take_change().servers);
  resolver.set_servers(other.address());
  EXPECT_FALSE(resolver.take_change().servers) << "they are the same";
}

TEST_F(ResolverTest, SilenceAboutOneFamilyHoldsUpNoOtherName) {
  for (std::uint64_t token = 1; token <= 60; token++) ask(token);
  const Time start = loop.now();
  run({{[&] {
    std::erase_if(server.open, [](const Server::Question& question) { return question.type == kTypeAaaa; });
    server.answer_all();
    return answers.size() == 60;
  }}});
  EXPECT_LT(loop.now() - start, std::chrono::seconds(3)) << "the silent queries are given up after 3 s";
  for (auto& [token, answer] : answers) EXPECT_EQ(answer.addresses.size(), 1u) << token;
}

// Its socket may have an address that this host has no longer.
TEST_F(ResolverTest, AServerThatIsSilentForLongIsAskedFromAnotherSocketThoughSomethingIsAlwaysUnderWay) {
  std::set<int> ports;
  std::uint64_t token = 0;
  Time next{};
  run({{[&] {
    if (loop.now() >= next) {
      ask(++token);
      next = loop.now() + std::chrono::milliseconds(500);
    }
    for (const Server::Question& question : std::exchange(server.open, {})) ports.insert(question.from.sin_port);
    return ports.size() == 2;
  }}});
}

TEST_F(ResolverTest, LocalhostIsNotAsked) {
  resolver.ask(Resolver::Kind::Host, "app.localhost", 1);
  run({{answered(1)}});
  EXPECT_FALSE(answers[1].addresses.empty());
  EXPECT_TRUE(server.asked.empty());
  EXPECT_TRUE(resolver.is_in_hosts("localhost"));
  EXPECT_FALSE(resolver.is_in_hosts("name1.test"));
}

}  // namespace
}  // namespace cloudbus
