// SPDX-License-Identifier: Apache-2.0
//
// What the core costs without any system call, with Google Benchmark: make micro && ./micro

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "cloudbus/core/flow/window.h"
#include "cloudbus/core/session/output.h"
#include "cloudbus/core/session/session.h"
#include "cloudbus/core/wire/frame.h"

namespace {

using namespace cloudbus;

constexpr std::uint64_t kMemory = 512 * 1024 * 1024;
constexpr Duration kStep = std::chrono::microseconds(10);
constexpr Duration kRoundTrip = std::chrono::microseconds(100);

SlabPool& slabs() {
  static SlabPool pool;
  return pool;
}

void require(bool holds) {
  if (!holds) std::abort();
}

// --- Frames ---

void FrameHeaderEncode(benchmark::State& state) {
  std::byte out[kHeaderSize];
  FrameHeader header{.type = FrameType::Data, .length = 200, .stream = 1};
  for (auto _ : state) {
    header.stream++;
    encode(out, header);
    benchmark::DoNotOptimize(out);
  }
}
BENCHMARK(FrameHeaderEncode);

void FrameHeaderDecode(benchmark::State& state) {
  std::byte in[kHeaderSize];
  encode(in, {.type = FrameType::Data, .length = 200, .stream = 1});
  for (auto _ : state) {
    benchmark::DoNotOptimize(in);
    FrameHeader header = decode_header(in);
    benchmark::DoNotOptimize(header_error(header));
  }
}
BENCHMARK(FrameHeaderDecode);

// --- Credit ---

// So many bytes arrive and are handed on; a new limit is granted where it is time.
void WindowConsume(benchmark::State& state) {
  auto bytes = static_cast<std::uint64_t>(state.range(0));
  Budget budget(kMemory);
  ReceiveWindow window(256 * 1024);
  Time now{std::chrono::hours(1)};
  for (auto _ : state) {
    now += kStep;
    require(window.admits(bytes));
    window.receive(bytes);
    benchmark::DoNotOptimize(window.consume(bytes, now, kRoundTrip, budget));
  }
  window.close(budget);
}
BENCHMARK(WindowConsume)->Arg(200)->Arg(64 * 1024);

// --- Output ---

void consume_all(Output& output) {
  iovec parts[16];
  while (!output.empty()) {
    int count = output.gather(parts, 16);
    std::size_t size = 0;
    for (int i = 0; i < count; i++) size += parts[i].iov_len;
    output.consume(size);
  }
}

// Control frames, 16 for each write.
void OutputAppend(benchmark::State& state) {
  constexpr int kFrames = 16;
  Output output(slabs());
  for (auto _ : state) {
    for (int i = 0; i < kFrames; i++)
      encode(output.append(kHeaderSize + 8), {.type = FrameType::Credit, .length = 8, .stream = 1});
    consume_all(output);
  }
  state.SetItemsProcessed(state.iterations() * kFrames);
}
BENCHMARK(OutputAppend);

// A read of so many bytes becomes frames and is written. The bytes themselves are the kernel's to copy.
void OutputCommit(benchmark::State& state) {
  auto bytes = static_cast<std::size_t>(state.range(0));
  bool keeps = state.range(1) != 0;
  Output output(slabs());
  if (keeps) output.start_keeping();
  for (auto _ : state) {
    std::size_t room = output.reserve(bytes).size;
    output.commit(1, std::min(bytes, room));
    consume_all(output);
    if (output.kept() >= 512 * 1024) output.release(output.kept());
  }
}
BENCHMARK(OutputCommit)->ArgNames({"bytes", "keeps"})->ArgsProduct({{200, 16 * 1024, 512 * 1024}, {0, 1}});

// --- Sessions ---

// One end of a link, with an application that sends and reads one stream.
class End {
 public:
  explicit End(Role role) : budget_(kMemory), session_(role, hello(role), {}, slabs(), budget_, Time{}) {}

  Session& session() { return session_; }
  std::size_t received() const { return received_; }

  void send(StreamId stream, std::size_t bytes) {
    session_.want(stream);
    while (bytes > 0) {
      auto quantum = session_.next_quantum();
      require(quantum.has_value());
      std::size_t part = std::min({bytes, quantum->bytes, session_.reserve(*quantum, bytes).size});
      bytes -= part;
      session_.fill_done(stream, part, bytes > 0);
    }
  }

  // All that this end has to write arrives at the other.
  void deliver(End& to, Time now) {
    iovec parts[16];
    while (!session_.output().empty()) {
      int count = session_.output().gather(parts, 16);
      std::size_t size = 0;
      for (int i = 0; i < count; i++) {
        to.receive({static_cast<const std::byte*>(parts[i].iov_base), parts[i].iov_len}, now);
        size += parts[i].iov_len;
      }
      session_.output().consume(size);
      session_.on_written(now);
    }
  }

 private:
  static Hello hello(Role role) {
    Hello hello{.software = "micro"};
    hello.resume = ResumeOffer{.wait_ms = 30'000, .window = 16 * 1024 * 1024};
    if (role == Role::Segment) {
      hello.session.emplace();
      hello.max_streams = 20'000;
    }
    return hello;
  }

  void receive(Bytes input, Time now) {
    while (auto event = session_.receive(input, now)) {
      require(event->kind != EventKind::Closed && event->kind != EventKind::Reset);
      if (event->kind == EventKind::Opened) {
        session_.adopt(event->stream, event->stream);
        session_.accept(event->stream);
      }
      if (event->kind != EventKind::Data) continue;
      received_ += event->data.size();
      session_.consumed(event->stream, event->data.size(), now);
    }
  }

  Budget budget_;
  Session session_;
  std::size_t received_ = 0;
};

// A link with so many streams.
struct Link {
  explicit Link(std::size_t streams) {
    settle();
    while (ids.size() < streams) {
      ids.push_back(controller.session().open({{}, 0, "echo", "192.0.2.1:5000"}, ids.size() + 1));
      settle();
    }
  }

  void settle() {
    for (int i = 0; i < 2; i++) {
      controller.deliver(segment, now);
      segment.deliver(controller, now);
    }
  }

  Time now{std::chrono::hours(1)};
  End controller{Role::Controller}, segment{Role::Segment};
  std::vector<StreamId> ids;
};

// One turn, where so many streams write all the time.
void SessionTurn(benchmark::State& state) {
  Link link(static_cast<std::size_t>(state.range(0)));
  Session& session = link.controller.session();
  for (StreamId id : link.ids) session.want(id);
  for (auto _ : state) {
    auto quantum = session.next_quantum();
    require(quantum.has_value());
    session.fill_done(quantum->stream, 0, true);
  }
}
BENCHMARK(SessionTurn)->Arg(1)->Arg(64)->Arg(10'000);

// A controller sends so many bytes, the segment as many back; credit and acknowledgements go with them.
void SessionRoundTrip(benchmark::State& state) {
  auto bytes = static_cast<std::size_t>(state.range(0));
  Link link(1);
  for (auto _ : state) {
    link.now += kStep;
    link.controller.send(link.ids[0], bytes);
    link.controller.deliver(link.segment, link.now);
    link.segment.send(link.ids[0], bytes);
    link.segment.deliver(link.controller, link.now);
  }
  link.settle();
  require(link.segment.received() == bytes * static_cast<std::size_t>(state.iterations()));
  require(link.controller.received() == link.segment.received());
}
BENCHMARK(SessionRoundTrip)->Arg(1)->Arg(200)->Arg(64 * 1024);

}  // namespace

BENCHMARK_MAIN();
