// SPDX-License-Identifier: Apache-2.0
// A link over a wide area between two network namespaces, for tests and benchmarks. It makes a TUN device in each, and
// carries packets between them late, at a limited rate, and not all of them. Nothing of the kernel's is needed for that
// but TUN devices.
//
// Prints "ready" when packets pass. SIGUSR1 makes it a black hole: all packets are dropped in silence, those under way
// too; SIGUSR2 ends that. Each is answered with a line. SIGTERM ends it, with a line for each direction: what it has
// carried.

#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace cloudbus {
namespace {

using Clock = std::chrono::steady_clock;
using Nanos = std::chrono::nanoseconds;
using Time = std::chrono::time_point<Clock, Nanos>;

constexpr const char* kDevice = "wan0";
constexpr const char* kAddresses[] = {"10.77.0.1", "10.77.0.2"};
constexpr const char* kNetmask = "255.255.255.0";
constexpr std::size_t kMtu = 1500;
constexpr int kDeviceQueue = 20'000;             // packets that wait in the kernel to be read
constexpr std::size_t kMostUnderWay = 1 << 17;   // packets in each direction
constexpr std::size_t kLeastQueue = 256 * 1024;  // bytes
constexpr int kMostReads = 512;                  // in a turn
// With a limited rate, which is for bulk, they are moved in batches while there is more than one packet in a turn: so
// far apart, or nearer if the delay is short, a twentieth of it. Without one every packet is moved at its time.
constexpr int kFewPackets = 1;
constexpr Nanos kBatch = std::chrono::microseconds(200);

constexpr const char* kUsage =
    "usage: wan_link [OPTION]... NAMESPACE NAMESPACE\n"
    "  --delay-ms N       one way; the round trip takes twice as long (default: 0)\n"
    "  --rate-mbit N      in each direction (default: no limit)\n"
    "  --queue-kb N       what waits for its turn at that rate; more is dropped\n"
    "                     (default: what the line carries in a round trip, 256 at least)\n"
    "  --loss-percent N   of the packets, at random (default: 0)\n"
    "  --seed N           of that randomness (default: 1)\n"
    "The first namespace gets the address 10.77.0.1, the second one 10.77.0.2, at a device wan0.\n";

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "wan_link: %s\n", what.c_str());
  std::exit(1);
}

[[noreturn]] void fail_with_error(const std::string& what) { fail(what + ": " + std::strerror(errno)); }

[[noreturn]] void fail_usage(const std::string& what) {
  std::fprintf(stderr, "wan_link: %s\n%s", what.c_str(), kUsage);
  std::exit(2);
}

// --- Options -----------------------------------------------------------------------------------------------------

struct Options {
  Nanos delay{};
  double rate = 0;  // bytes in a nanosecond; 0: no limit
  double loss = 0;  // the share
  double queue = 0;
  std::uint64_t seed = 1;
  std::array<std::string, 2> namespaces;
};

double parse_number(const char* option, std::string_view text, double most) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= 0 && value <= most)) {
    char allowed[64];
    std::snprintf(allowed, sizeof allowed, "a number from 0 to %.0f", most);
    fail_usage(std::string("--") + option + ": '" + std::string(text) + "' is not " + allowed);
  }
  return value;
}

Options parse_options(int argc, char** argv) {
  enum { kDelay, kRate, kQueue, kLoss, kSeed };
  const option known[] = {
      {"delay-ms", required_argument, nullptr, kDelay}, {"rate-mbit", required_argument, nullptr, kRate},
      {"queue-kb", required_argument, nullptr, kQueue}, {"loss-percent", required_argument, nullptr, kLoss},
      {"seed", required_argument, nullptr, kSeed},      {}};
  Options options;
  for (int index, found; (found = getopt_long(argc, argv, "", known, &index)) != -1;) {
    if (found == '?') fail_usage("these are its options:");
    auto number = [&](double most) { return parse_number(known[index].name, optarg, most); };
    switch (found) {
      case kDelay: options.delay = Nanos(static_cast<std::int64_t>(number(60'000) * 1e6)); break;
      case kRate: options.rate = number(100'000) / 8e3; break;
      case kQueue: options.queue = number(1 << 20) * 1024; break;
      case kLoss: options.loss = number(100) / 100; break;
      case kSeed: options.seed = static_cast<std::uint64_t>(number(1e15)); break;
    }
  }
  if (argc - optind != 2) fail_usage("the names of two network namespaces are needed");
  options.namespaces = {argv[optind], argv[optind + 1]};
  double round_trip = 2.0 * static_cast<double>(options.delay.count());
  if (options.queue == 0) options.queue = std::max<double>(kLeastQueue, options.rate * round_trip);
  return options;
}

// --- Devices -----------------------------------------------------------------------------------------------------

int open_file(const std::string& path, int flags) {
  int fd = ::open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) fail_with_error(path);
  return fd;
}

void enter_namespace(int fd, const std::string& name) {
  if (::setns(fd, CLONE_NEWNET) != 0) fail_with_error("cannot enter the network namespace " + name);
}

ifreq request_of_device() {
  ifreq request{};
  std::strncpy(request.ifr_name, kDevice, IFNAMSIZ - 1);
  return request;
}

void set_address(int fd, unsigned long what, const char* address) {
  ifreq request = request_of_device();
  sockaddr_in value{};
  value.sin_family = AF_INET;
  ::inet_pton(AF_INET, address, &value.sin_addr);
  std::memcpy(&request.ifr_addr, &value, sizeof value);
  if (::ioctl(fd, what, &request) != 0) fail_with_error(std::string("cannot give ") + kDevice + " " + address);
}

void set_up_device(const char* address) {
  int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail_with_error("cannot make a socket");
  set_address(fd, SIOCSIFADDR, address);
  set_address(fd, SIOCSIFNETMASK, kNetmask);
  ifreq request = request_of_device();
  request.ifr_qlen = kDeviceQueue;
  if (::ioctl(fd, SIOCSIFTXQLEN, &request) != 0) fail_with_error("cannot set the queue of the device");
  request = request_of_device();
  request.ifr_mtu = kMtu;
  if (::ioctl(fd, SIOCSIFMTU, &request) != 0) fail_with_error("cannot set the MTU of the device");
  request = request_of_device();
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(fd, SIOCSIFFLAGS, &request) != 0) fail_with_error("cannot start the device");
  ::close(fd);
}

// The device stays in its namespace when we come back, and is gone with its descriptor.
int make_device(const std::string& name, const char* address) {
  int home = open_file("/proc/self/ns/net", O_RDONLY);
  int there = open_file("/run/netns/" + name, O_RDONLY);
  enter_namespace(there, name);
  int fd = open_file("/dev/net/tun", O_RDWR | O_NONBLOCK);
  ifreq request = request_of_device();
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (::ioctl(fd, TUNSETIFF, &request) != 0) fail_with_error(name + ": cannot make the device " + kDevice);
  set_up_device(address);
  enter_namespace(home, "that it came from");
  ::close(there);
  ::close(home);
  return fd;
}

// --- Packets -----------------------------------------------------------------------------------------------------

struct Packet {
  Time due;
  std::size_t size = 0;
  std::array<std::byte, kMtu> data;
};

// One direction of the link.
class Way {
 public:
  struct Counts {
    std::uint64_t carried = 0, lost = 0, overflowed = 0, swallowed = 0;
  };

  Way(const Options& options, int from, int to, std::uint64_t seed)
      : options_(options), from_(from), to_(to), random_(seed), loss_(options.loss) {}

  // How many came.
  int take(bool is_black_hole) {
    Time now = Clock::now();
    int reads = 0;
    for (; reads < kMostReads; reads++) {
      if (spare_.empty()) spare_.push_back(std::make_unique<Packet>());
      Packet& packet = *spare_.back();
      ssize_t size = ::read(from_, packet.data.data(), packet.data.size());
      if (size <= 0) break;
      packet.size = static_cast<std::size_t>(size);
      if (is_black_hole)
        counts_.swallowed++;
      else
        begin(packet, now);
    }
    return reads;
  }

  // How many it was time for.
  int deliver() {
    Time now = Clock::now();
    int writes = 0;
    for (; !under_way_.empty() && under_way_.front()->due <= now; writes++) {
      const Packet& packet = *under_way_.front();
      // One that the other kernel does not take is lost there.
      if (::write(to_, packet.data.data(), packet.size) >= 0)
        counts_.carried++;
      else
        counts_.lost++;
      forget_first();
    }
    return writes;
  }

  void swallow() {
    counts_.swallowed += under_way_.size();
    while (!under_way_.empty()) forget_first();
  }

  Time next_due() const { return under_way_.empty() ? Time::max() : under_way_.front()->due; }
  const Counts& counts() const { return counts_; }

 private:
  // The packet, which is the last spare one, goes on its way or stays spare.
  void begin(Packet& packet, Time now) {
    Time sent = now;
    if (options_.rate > 0) {
      Time start = std::max(now, line_free_);
      auto waiting = static_cast<double>((start - now).count()) * options_.rate;
      if (waiting + static_cast<double>(packet.size) > options_.queue) {
        counts_.overflowed++;
        return;
      }
      sent = start + Nanos(static_cast<std::int64_t>(static_cast<double>(packet.size) / options_.rate));
      line_free_ = sent;
    }
    if (loss_(random_)) {
      counts_.lost++;
      return;
    }
    if (under_way_.size() == kMostUnderWay) {
      counts_.overflowed++;
      return;
    }
    packet.due = sent + options_.delay;
    under_way_.push_back(std::move(spare_.back()));
    spare_.pop_back();
  }

  void forget_first() {
    spare_.push_back(std::move(under_way_.front()));
    under_way_.pop_front();
  }

  const Options& options_;
  int from_, to_;
  std::mt19937_64 random_;
  std::bernoulli_distribution loss_;
  Time line_free_{};  // when the line has sent all that was taken
  std::deque<std::unique_ptr<Packet>> under_way_;
  std::vector<std::unique_ptr<Packet>> spare_;
  Counts counts_;
};

// --- The program -------------------------------------------------------------------------------------------------

// A descriptor from which they are read.
int catch_signals() {
  sigset_t caught;
  sigemptyset(&caught);
  for (int number : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT}) sigaddset(&caught, number);
  ::sigprocmask(SIG_BLOCK, &caught, nullptr);
  int fd = ::signalfd(-1, &caught, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd < 0) fail_with_error("cannot watch signals");
  return fd;
}

void say(const char* line) {
  std::puts(line);
  std::fflush(stdout);
}

timespec timespec_of(Nanos span) {
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(span);
  return {seconds.count(), (span - seconds).count()};
}

class WanLink {
 public:
  explicit WanLink(const Options& options)
      : options_(options),
        devices_{make_device(options.namespaces[0], kAddresses[0]), make_device(options.namespaces[1], kAddresses[1])},
        ways_{Way(options_, devices_[0], devices_[1], options.seed),
              Way(options_, devices_[1], devices_[0], options.seed + 1)},
        batch_(options.rate > 0 ? std::min(kBatch, options.delay / 20) : Nanos::zero()) {}

  void run() {
    ::prctl(PR_SET_TIMERSLACK, 1000);  // nanoseconds; our timers would be 50 us late otherwise
    say("ready");
    int packets = 0;
    while (!is_ending_) {
      wait(packets > kFewPackets ? batch_ : Nanos::zero());
      take_signals();
      packets = 0;
      for (Way& way : ways_) packets += way.take(is_black_) + way.deliver();
    }
  }

  void report() const {
    for (const Way& way : ways_) {
      const Way::Counts& counts = way.counts();
      std::printf("carried=%ju lost=%ju overflowed=%ju swallowed=%ju\n", std::uintmax_t{counts.carried},
                  std::uintmax_t{counts.lost}, std::uintmax_t{counts.overflowed}, std::uintmax_t{counts.swallowed});
    }
  }

 private:
  // For `pause`, in which packets gather, or until one comes or is due; and until a signal comes.
  void wait(Nanos pause) {
    std::array<pollfd, 3> watched{{{signals_, POLLIN, 0}, {devices_[0], POLLIN, 0}, {devices_[1], POLLIN, 0}}};
    bool is_pause = pause > Nanos::zero();
    Time due = std::min(ways_[0].next_due(), ways_[1].next_due());
    timespec left = timespec_of(is_pause ? pause : std::max(due - Time(Clock::now()), Nanos::zero()));
    bool is_timed = is_pause || due != Time::max();
    ::ppoll(watched.data(), is_pause ? 1 : watched.size(), is_timed ? &left : nullptr, nullptr);
  }

  void take_signals() {
    signalfd_siginfo signal;
    while (::read(signals_, &signal, sizeof signal) == sizeof signal) {
      switch (signal.ssi_signo) {
        case SIGUSR1: set_black_hole(true); break;
        case SIGUSR2: set_black_hole(false); break;
        default: is_ending_ = true;
      }
    }
  }

  void set_black_hole(bool is_black) {
    is_black_ = is_black;
    if (is_black)
      for (Way& way : ways_) way.swallow();
    say(is_black ? "black hole" : "open");
  }

  const Options options_;
  const std::array<int, 2> devices_;
  std::array<Way, 2> ways_;
  const Nanos batch_;
  const int signals_ = catch_signals();
  bool is_black_ = false;
  bool is_ending_ = false;
};

}  // namespace
}  // namespace cloudbus

int main(int argc, char** argv) {
  cloudbus::WanLink link(cloudbus::parse_options(argc, argv));
  link.run();
  link.report();
  return 0;
}
