#include "machine/control/line_channel.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "host/clock.h"
#include "host/socket.h"
#include "host/system_error.h"

namespace vireo::machine {
namespace {

constexpr u64 patience_ns{10'000'000'000};

int remaining_ms(u64 deadline_ns) {
  if (deadline_ns == ~u64{0}) return -1;
  auto const now = host::monotonic_ns();
  if (now >= deadline_ns) return 0;
  return static_cast<int>(std::min<u64>((deadline_ns - now + 999'999) / 1'000'000, 1u << 30));
}

}  // namespace

Result<std::optional<std::string>> LineChannel::read(std::size_t limit, int stop, u64 deadline_ns) {
  auto searched = std::size_t{0};
  while (true) {
    auto const end = pending_.find('\n', searched);
    if (end != std::string::npos) {
      auto line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return line;
    }
    searched = pending_.size();
    if (pending_.size() > limit) return fail(Errc::invalid, fmt::format("a line of more than {} bytes", limit));
    auto polled = std::array<pollfd, 2>{{{socket_.get(), POLLIN, 0}, {stop, POLLIN, 0}}};
    auto const ready = ::poll(polled.data(), polled.size(), remaining_ms(deadline_ns));
    if (ready < 0 && errno != EINTR) return host::fail_errno(errno, "poll");
    if (ready == 0) return fail(Errc::gone, "no answer in time");
    if (polled[1].revents != 0) return fail(Errc::gone, "closed");
    if (polled[0].revents == 0) continue;
    auto chunk = std::array<char, 16384>{};
    auto const got = ::recv(socket_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (got == 0) return std::optional<std::string>{};
    if (got < 0 && errno != EAGAIN && errno != EINTR) return host::fail_errno(errno, "control socket");
    if (got > 0) pending_.append(chunk.data(), static_cast<std::size_t>(got));
  }
}

Result<> LineChannel::write(std::string_view line) {
  auto const text = std::string{line} + '\n';
  auto rest = std::string_view{text};
  while (!rest.empty()) {
    auto const sent = ::send(socket_.get(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(sent));
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) return host::fail_errno(errno, "control socket");
    if (!TRY(host::wait_for(socket_.get(), POLLOUT, host::monotonic_ns() + patience_ns))) {
      return fail(Errc::gone, "the client takes nothing");
    }
  }
  return {};
}

}  // namespace vireo::machine
