#include "net/nat/nat.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <libslirp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <deque>
#include <optional>
#include <thread>

#include "observe/log.h"
#include "vocab/guarded.h"

namespace vireo::net {
namespace {

constexpr std::size_t shortest_frame{14};
constexpr std::size_t longest_frame{65550};
constexpr std::size_t queue_frames{1024};

using Frame = std::vector<std::byte>;

i64 clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct SlirpTimer {
  ::SlirpTimerCb callback;
  void* argument;
  std::optional<i64> expiry_ms;
};

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length{};
  // SOUND: sockaddr_storage is made to be seen as any sockaddr.
  sockaddr const* get() const { return reinterpret_cast<sockaddr const*>(&storage); }
};

std::optional<SocketAddress> socket_address(std::string const& text, u16 port) {
  auto address = SocketAddress{};
  auto v4 = sockaddr_in{};
  auto v6 = sockaddr_in6{};
  if (::inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&address.storage, &v4, sizeof v4);
    address.length = sizeof v4;
    return address;
  }
  if (::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) != 1) return {};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(&address.storage, &v6, sizeof v6);
  address.length = sizeof v6;
  return address;
}

class SlirpNat final : public Nat {
 public:
  explicit SlirpNat(NatOptions options) : options_{std::move(options)} {}
  SlirpNat(SlirpNat const&) = delete;
  SlirpNat& operator=(SlirpNat const&) = delete;

  ~SlirpNat() override {
    ending_.store(true, std::memory_order_release);
    if (thread_.joinable()) {
      wake();
      thread_.join();
    }
    if (slirp_ != nullptr) ::slirp_cleanup(slirp_);
    if (wake_fd_ >= 0) ::close(wake_fd_);
  }

  Result<> open() {
    wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd_ < 0) return fail(Errc::io, fmt::format("nat: eventfd: {}", std::strerror(errno)));
    auto const config = slirp_config();
    slirp_ = ::slirp_new(&config, &callbacks(), this);
    if (slirp_ == nullptr) return fail(Errc::io, "nat: libslirp refused its configuration");
    for (auto const& forward : options_.forwards) TRY(add(forward));
    thread_ = std::thread{[this] { run(); }};
    return {};
  }

  // ---- Port, any thread ----

  void send(ConstBytes frame) override {
    if (frame.size() < shortest_frame || frame.size() > longest_frame) {
      malformed_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    auto const waiting = outbox_.with([&](auto& outbox) {
      if (outbox.size() < queue_frames)
        outbox.emplace_back(frame.begin(), frame.end());
      else
        dropped_to_host_.fetch_add(1, std::memory_order_relaxed);
      return outbox.size();
    });
    if (waiting == 1) wake();
  }
  void set_receiver(Receiver receiver) override {
    receiver_.with([&](auto& current) { current = std::move(receiver); });
    resume();
  }
  void resume() override {
    resumed_.store(true, std::memory_order_release);
    wake();
  }
  Counters counters() const override {
    return {dropped_to_host_.load(std::memory_order_relaxed), dropped_to_guest_.load(std::memory_order_relaxed),
            malformed_.load(std::memory_order_relaxed)};
  }

 private:
  static ::SlirpCb const& callbacks();

  ::SlirpConfig slirp_config() const {
    auto config = ::SlirpConfig{};
    config.version = 4;
    config.in_enabled = true;
    config.in6_enabled = options_.ipv6;
    config.vprefix_len = 64;
    config.vhostname = options_.hostname.c_str();
    config.disable_host_loopback = !options_.host_loopback;
    ::inet_pton(AF_INET, "10.0.2.0", &config.vnetwork);
    ::inet_pton(AF_INET, "255.255.255.0", &config.vnetmask);
    ::inet_pton(AF_INET, "10.0.2.2", &config.vhost);
    ::inet_pton(AF_INET, "10.0.2.3", &config.vnameserver);
    ::inet_pton(AF_INET, "10.0.2.15", &config.vdhcp_start);
    ::inet_pton(AF_INET6, "fec0::", &config.vprefix_addr6);
    ::inet_pton(AF_INET6, "fec0::2", &config.vhost6);
    ::inet_pton(AF_INET6, "fec0::3", &config.vnameserver6);
    return config;
  }

  Result<> add(PortForward const& forward) {
    auto const host = socket_address(forward.host_address, forward.host_port);
    auto const guest = socket_address(forward.guest_address, forward.guest_port);
    auto const name = to_string(forward);
    if (!host || !guest) return fail(Errc::invalid, fmt::format("forward {}: not a numeric address", name));
    auto const flags = forward.udp ? SLIRP_HOSTFWD_UDP : 0;
    if (::slirp_add_hostxfwd(slirp_, host->get(), host->length, guest->get(), guest->length, flags) == 0)
      return {};
    auto const reason = errno;
    auto const where =
        fmt::format("{} port {} of {}", forward.udp ? "UDP" : "TCP", forward.host_port, forward.host_address);
    if (reason == EADDRINUSE) return fail(Errc::busy, fmt::format("forward {}: {} is in use", name, where));
    auto const code = reason == EACCES || reason == EPERM ? Errc::denied : Errc::io;
    return fail(code, fmt::format("forward {}: cannot listen on {}: {}", name, where, std::strerror(reason)));
  }

  void wake() const {
    auto const one = u64{1};
    // A full counter has woken the thread already.
    [[maybe_unused]] auto const written = ::write(wake_fd_, &one, sizeof one);
  }

  // ---- the NAT thread ----

  void run() {
    while (!ending_.load(std::memory_order_acquire)) {
      auto timeout_ms = u32{UINT32_MAX};
      polls_.assign(1, pollfd{wake_fd_, POLLIN, 0});
      ::slirp_pollfds_fill(slirp_, &timeout_ms, add_poll, this);
      auto const ready = ::poll(polls_.data(), polls_.size(), earliest(timeout_ms));
      if (ready > 0 && (polls_[0].revents & POLLIN) != 0) {
        auto count = u64{};
        [[maybe_unused]] auto const got = ::read(wake_fd_, &count, sizeof count);
      }
      ::slirp_pollfds_poll(slirp_, ready < 0 ? 1 : 0, get_events, this);
      run_timers();
      take_outbox();
      if (resumed_.exchange(false, std::memory_order_acq_rel)) deliver_held();
    }
  }

  int earliest(u32 timeout_ms) const {
    auto wait = i64{timeout_ms == UINT32_MAX ? -1 : static_cast<i64>(timeout_ms)};
    auto const now_ms = clock_ns() / 1'000'000;
    for (auto const& timer : timers_) {
      if (!timer->expiry_ms) continue;
      auto const left = std::max<i64>(*timer->expiry_ms - now_ms, 0);
      wait = wait < 0 ? left : std::min(wait, left);
    }
    return static_cast<int>(std::min<i64>(wait, 3'600'000));
  }

  void run_timers() {
    auto const now_ms = clock_ns() / 1'000'000;
    for (auto i = std::size_t{0}; i < timers_.size(); ++i) {
      auto& timer = *timers_[i];
      if (!timer.expiry_ms || *timer.expiry_ms > now_ms) continue;
      timer.expiry_ms.reset();
      timer.callback(timer.argument);
    }
  }

  void take_outbox() {
    auto const frames = outbox_.with([](auto& outbox) { return std::exchange(outbox, {}); });
    for (auto const& frame : frames) {
      // SOUND: bytes seen as bytes.
      ::slirp_input(slirp_, reinterpret_cast<u8 const*>(frame.data()), static_cast<int>(frame.size()));
    }
  }

  bool deliver(ConstBytes frame) {
    return receiver_.with([&](auto& receiver) { return receiver == nullptr || receiver(frame); });
  }

  void deliver_held() {
    while (!held_.empty() && deliver(held_.front())) held_.pop_front();
  }

  void receive(ConstBytes frame) {
    if (held_.empty() && deliver(frame)) return;
    if (held_.size() < queue_frames)
      held_.emplace_back(frame.begin(), frame.end());
    else
      dropped_to_guest_.fetch_add(1, std::memory_order_relaxed);
  }

  static SlirpNat& self(void* opaque) { return *static_cast<SlirpNat*>(opaque); }

  static int add_poll(int fd, int events, void* opaque) {
    auto wanted = short{0};
    if ((events & SLIRP_POLL_IN) != 0) wanted |= POLLIN;
    if ((events & SLIRP_POLL_OUT) != 0) wanted |= POLLOUT;
    if ((events & SLIRP_POLL_PRI) != 0) wanted |= POLLPRI;
    auto& polls = self(opaque).polls_;
    polls.push_back(pollfd{fd, wanted, 0});
    return static_cast<int>(polls.size() - 1);
  }

  static int get_events(int index, void* opaque) {
    auto const events = self(opaque).polls_.at(static_cast<std::size_t>(index)).revents;
    auto result = 0;
    if ((events & POLLIN) != 0) result |= SLIRP_POLL_IN;
    if ((events & POLLOUT) != 0) result |= SLIRP_POLL_OUT;
    if ((events & POLLPRI) != 0) result |= SLIRP_POLL_PRI;
    if ((events & POLLERR) != 0) result |= SLIRP_POLL_ERR;
    if ((events & POLLHUP) != 0) result |= SLIRP_POLL_HUP;
    return result;
  }

  NatOptions options_;
  ::Slirp* slirp_{nullptr};
  int wake_fd_{-1};
  std::vector<std::unique_ptr<SlirpTimer>> timers_;  // NAT thread
  std::vector<pollfd> polls_;                        // NAT thread
  std::deque<Frame> held_;                           // NAT thread
  Guarded<std::vector<Frame>, LockRank::queue> outbox_;
  Guarded<Receiver, LockRank::net> receiver_;  // held during the call, so that set_receiver() ends what runs
  std::atomic<u64> dropped_to_host_{0}, dropped_to_guest_{0}, malformed_{0};
  std::atomic<bool> resumed_{false};
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

::SlirpCb const& SlirpNat::callbacks() {
  static auto const table = [] {
    auto cb = ::SlirpCb{};
    cb.send_packet = [](void const* data, size_t length, void* opaque) -> ssize_t {
      self(opaque).receive({static_cast<std::byte const*>(data), length});
      return static_cast<ssize_t>(length);
    };
    cb.guest_error = [](char const* text, void*) { VIREO_LOG_GUEST(observe::Level::info, "nat", "{}", text); };
    cb.clock_get_ns = [](void*) -> int64_t { return clock_ns(); };
    cb.timer_new = [](::SlirpTimerCb callback, void* argument, void* opaque) -> void* {
      auto& timers = self(opaque).timers_;
      timers.push_back(std::make_unique<SlirpTimer>(SlirpTimer{callback, argument, {}}));
      return timers.back().get();
    };
    cb.timer_free = [](void* timer, void* opaque) {
      std::erase_if(self(opaque).timers_, [&](auto const& each) { return each.get() == timer; });
    };
    cb.timer_mod = [](void* timer, int64_t expiry_ms, void*) {
      static_cast<SlirpTimer*>(timer)->expiry_ms = expiry_ms;
    };
    cb.register_poll_fd = [](int, void*) {};
    cb.unregister_poll_fd = [](int, void*) {};
    cb.notify = [](void* opaque) { self(opaque).wake(); };
    return cb;
  }();
  return table;
}

}  // namespace

Result<std::unique_ptr<Nat>> Nat::create(NatOptions options) {
  auto nat = std::make_unique<SlirpNat>(std::move(options));
  TRY(nat->open());
  return nat;
}

}  // namespace vireo::net
