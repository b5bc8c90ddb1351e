// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/core/wire/proof.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "cloudbus/core/base/bytes.h"

namespace cloudbus {
namespace {

constexpr std::string_view kPurpose = "cloudbus resume 1";

}  // namespace

Proof prove(const ResumeClaim& claim, const Secret& secret) {
  std::array<std::byte, kPurpose.size() + 1 + 16 + 2 * 16 + 2 * 8> message;
  std::byte* end = std::ranges::copy(as_bytes(kPurpose), message.data()).out;
  end = store(end, static_cast<std::uint8_t>(claim.role));
  end = std::ranges::copy(claim.session, end).out;
  end = std::ranges::copy(claim.controller, end).out;
  end = std::ranges::copy(claim.segment, end).out;
  end = store(end, claim.epoch);
  store(end, claim.position);

  Proof proof;
  unsigned size = 0;
  const unsigned char* done = HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
                                   reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                                   reinterpret_cast<unsigned char*>(proof.data()), &size);
  if (!done || size != proof.size()) std::abort();  // a library without SHA-256
  return proof;
}

bool is_proven(const ResumeClaim& claim, const Secret& secret, const Proof& proof) {
  Proof right = prove(claim, secret);
  return CRYPTO_memcmp(right.data(), proof.data(), proof.size()) == 0;
}

}  // namespace cloudbus
