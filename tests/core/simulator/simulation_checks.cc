// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/simulator/simulation.h"

namespace cloudbus {

// --- What must hold ----------------------------------------------------------------------------------------------

void Simulation::check() {
  for (int e = 0; e < 2; e++) {
    if (ends_[e]->dead) continue;
    std::size_t live = 0, unreleased = 0;
    std::uint64_t grown = 0;
    for (std::size_t i = 0; i < conversations_.size(); i++) {
      OneToOneRelay& side = conversations_[i].side(e);
      if (!side.exists) continue;
      side.check();
      unreleased += !side.released;
      const Stream* stream = session(e).find(side.stream);
      require((stream != nullptr) == !side.over(), "stream {} of the {} is {}", side.stream, name(e),
              stream ? "still there" : "gone");
      if (!stream) continue;
      live++;
      grown += stream->window.window() - std::min(stream->window.window(), ends_[e]->limits.initial_window);
      check_stream(e, *stream, side);
      if (!ends_[1 - e]->dead) check_pair(*stream, session(1 - e).find(side.stream));
    }
    require(session(e).stream_count() == live, "the {} has {} streams instead of {}", name(e),
            session(e).stream_count(), live);
    require(grown <= ends_[e]->budget.limit() / 2, "windows of the {} grew by {}, past the budget", name(e), grown);
    if (e == 1) require(unreleased <= ends_[1]->limits.max_streams, "{} streams at once", unreleased);
  }
}

void Simulation::check_stream(int e, const Stream& stream, OneToOneRelay& side) {
  require(stream.sent <= stream.send_limit, "stream {} of the {} sent {} with credit to {}", side.stream, name(e),
          stream.sent, stream.send_limit);
  require(stream.sent == side.sent, "stream {} of the {} counts {} bytes sent, not {}", side.stream, name(e),
          stream.sent, side.sent);
  const ReceiveWindow& window = stream.window;
  side.most_window = std::max<std::uint64_t>(side.most_window, window.window());
  require(window.received() <= window.limit(), "stream {} of the {} received {} past its limit", side.stream, name(e),
          window.received());
  require(window.limit() - window.consumed() <= side.most_window, "stream {} of the {} may buffer {}, its window is {}",
          side.stream, name(e), window.limit() - window.consumed(), side.most_window);
  require(side.due() <= side.most_window, "stream {} of the {} buffers {}", side.stream, name(e), side.due());
  require(window.received() >= side.received && window.consumed() == side.consumed,
          "stream {} of the {} counts otherwise", side.stream, name(e));
}

void Simulation::check_kept(int e) {
  const Output& output = session(e).output();
  std::uint64_t window = std::max<std::uint64_t>(4 * std::uint64_t{kMinWindow}, ends_[e]->budget.limit() / 16);
  require(is_resumable_ || output.kept() == 0, "{} bytes are kept for nobody", output.kept());
  require(output.kept() <= window + Output::kMaxFill + 64 * 1024,
          "{} bytes are kept by the {}: {} unwritten, {} rewound", output.kept(), name(e), output.size(),
          output.rewound());
}

void Simulation::check_pair(const Stream& sender, const Stream* receiver) {
  if (!receiver) return;
  require(sender.send_limit <= receiver->window.limit(), "credit that was never granted");
  require(receiver->window.received() <= sender.sent, "bytes that were never sent");
}

void Simulation::check_end() {
  for (Conversation& conversation : conversations_) check_conversation(conversation);
  conversations_.clear();
  bool calm = ending_ != Ending::Cut && ending_ != Ending::BlackHole && ending_ != Ending::Close;
  for (auto& end : ends_) {
    if (calm) require(end->session->stream_count() == 0, "streams are left");
    end->session.reset();
    end->fresh.reset();
    require(end->budget.buffered() == 0, "{} bytes are still counted as buffered", end->budget.buffered());
    require(end->budget.kept() == 0, "{} bytes are still counted as kept", end->budget.kept());
    require(end->budget.reserve(end->budget.limit()), "windows did not give back what they reserved");
    end->budget.release(end->budget.limit());
  }
}

void Simulation::check_conversation(const Conversation& conversation) const {
  const OneToOneRelay &client = conversation.side(0), &server = conversation.side(1);
  bool whole = client.exists && server.exists;
  for (const OneToOneRelay* side : {&client, &server}) {
    require(!side->exists || side->over(), "a stream never ended");
    whole = whole && !(side->was_reset || side->own_reset || side->lost || side->stopped);
  }
  if (!whole) return;
  const SimulatedApplication &client_app = client.application, &server_app = server.application;
  require(client.received == server_app.to_send && server.received == client_app.to_send && client.fin_received &&
              server.fin_received,
          "a conversation ended early");
  for (const OneToOneRelay* side : {&client, &server})
    require(!side->is_closed() || side->application.was_reset || side->application.received == side->received,
            "{} never got all", side->application.name);
}

std::string Simulation::unfinished() const {
  std::string text;
  for (std::size_t i = 0; i < conversations_.size(); i++) {
    if (is_over(conversations_[i], 0) && is_over(conversations_[i], 1)) continue;
    for (int e = 0; e < 2; e++) {
      const OneToOneRelay& side = conversations_[i].side(e);
      text += "\n  " + side.describe();
    }
  }
  return text;
}

}  // namespace cloudbus
