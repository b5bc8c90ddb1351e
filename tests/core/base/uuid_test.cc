// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/base/uuid.h"

#include <gtest/gtest.h>

namespace cloudbus {
namespace {

TEST(Uuid, MatchesTheExampleOfTheRfc) {  // RFC 9562, appendix A.6
  auto uuid = make_uuid_v7(0x017F22E279B0, {0xCC3, std::uint64_t{0x18C4DC0C0C07398F} << 2});
  EXPECT_EQ(to_string(uuid), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

TEST(Uuid, VersionAndVariantStandWhateverTheRandomBits) {
  for (std::uint64_t bits : {std::uint64_t{0}, ~std::uint64_t{0}}) {
    auto text = to_string(make_uuid_v7(1'700'000'000'000, {bits, bits}));
    EXPECT_EQ(text.size(), 36u);
    EXPECT_EQ(text[14], '7');
    EXPECT_NE(std::string("89ab").find(text[19]), std::string::npos);
  }
}

TEST(Uuid, ALaterOneSortsBehind) {
  auto earlier = make_uuid_v7(1'000, {~std::uint64_t{0}, ~std::uint64_t{0}}), later = make_uuid_v7(1'001, {0, 0});
  EXPECT_LT(earlier, later);
  EXPECT_LT(to_string(earlier), to_string(later));
}

}  // namespace
}  // namespace cloudbus
