// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/segment/builtin.h"

#include <array>
#include <utility>

namespace cloudbus {

Builtin::Builtin(Loop& loop, Endpoint::Kind kind, int fd, std::function<void()> on_done)
    : kind_(kind), on_done_(std::move(on_done)) {
  connection_.start(loop, fd, true, *this);
}

void Builtin::close() {
  if (!connection_.is_open()) return;
  connection_.close();
  on_done_();
}

void Builtin::on_ready(Ready) noexcept {
  if (write_kept()) read_some();
}

// False when something is left, or the connection has ended.
bool Builtin::write_kept() {
  while (!kept_.empty()) {
    iovec part{kept_.data(), kept_.size()};
    IoResult result = connection_.write(&part, 1);
    if (result.status == Io::Again) return false;
    if (result.status != Io::Done) {
      close();
      return false;
    }
    kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(result.bytes));
  }
  kept_.shrink_to_fit();
  return true;
}

void Builtin::read_some() {
  std::array<std::byte, 64 * 1024> buffer;
  while (true) {
    iovec part{buffer.data(), buffer.size()};
    IoResult result = connection_.read(&part, 1);
    if (result.status == Io::Again) return;
    if (result.status != Io::Done) return close();
    if (kind_ == Endpoint::Kind::BuiltinDiscard) continue;
    part.iov_len = result.bytes;
    IoResult echoed = connection_.write(&part, 1);
    kept_.assign(buffer.begin() + static_cast<std::ptrdiff_t>(echoed.bytes),
                 buffer.begin() + static_cast<std::ptrdiff_t>(result.bytes));
    if (!write_kept()) return;
  }
}

}  // namespace cloudbus
