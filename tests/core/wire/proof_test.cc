// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/wire/proof.h"

#include <gtest/gtest.h>

#include "core/wire.h"

namespace cloudbus {
namespace {

ResumeClaim claim() {
  ResumeClaim claim{.role = Role::Controller, .epoch = 7, .position = 1'000};
  claim.session.fill(std::byte{1});
  claim.controller.fill(std::byte{2});
  claim.segment.fill(std::byte{3});
  return claim;
}

Secret secret() {
  Secret secret;
  secret.fill(std::byte{4});
  return secret;
}

// hmac.new(b'\4' * 32, b'cloudbus resume 1' + b'\1' + b'\1' * 16 + b'\2' * 16 + b'\3' * 16 +
//          struct.pack('!QQ', 7, 1000), 'sha256').hexdigest()
TEST(Proof, IsTheHmacOfTheText) {
  const std::uint64_t right[] = {0x1224CB0161DD5439, 0x6B9046299806BFF3, 0x444251D8CED02513, 0x8B5CC8D6D6602F1D};
  wire::Buffer expected;
  for (std::uint64_t word : right) expected += wire::u64(word);
  Proof proof = prove(claim(), secret());
  EXPECT_EQ(wire::Buffer(proof.begin(), proof.end()), expected);
}

TEST(Proof, DependsOnEverythingThatIsClaimed) {
  Proof proof = prove(claim(), secret());
  EXPECT_TRUE(is_proven(claim(), secret(), proof));
  auto fails = [&](auto change) {
    ResumeClaim other = claim();
    change(other);
    return !is_proven(other, secret(), proof);
  };
  EXPECT_TRUE(fails([](ResumeClaim& other) { other.role = Role::Segment; }));
  EXPECT_TRUE(fails([](ResumeClaim& other) { other.session[15] ^= std::byte{1}; }));
  EXPECT_TRUE(fails([](ResumeClaim& other) { other.controller[0] ^= std::byte{1}; }));
  EXPECT_TRUE(fails([](ResumeClaim& other) { other.segment[0] ^= std::byte{1}; }));
  EXPECT_TRUE(fails([](ResumeClaim& other) { std::swap(other.segment, other.controller); }));
  EXPECT_TRUE(fails([](ResumeClaim& other) { other.epoch++; }));
  EXPECT_TRUE(fails([](ResumeClaim& other) { other.position--; }));
}

TEST(Proof, AnyOtherBitIsNone) {
  Proof proof = prove(claim(), secret());
  for (std::size_t i = 0; i < 8 * proof.size(); i++) {
    Proof other = proof;
    other[i / 8] ^= std::byte{1} << (i % 8);
    EXPECT_FALSE(is_proven(claim(), secret(), other)) << i;
  }
  Secret near = secret();
  near[31] ^= std::byte{1};
  EXPECT_FALSE(is_proven(claim(), near, proof));
}

}  // namespace
}  // namespace cloudbus
