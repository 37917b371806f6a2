#include "image/polled/polled_connection.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "host/clock.h"

namespace vireo::image::polled {
namespace {

constexpr u64 ms_ns{1'000'000};
// Libraries have time limits of their own, which they look at when they are called.
constexpr u64 longest_poll_ms{1000};

}  // namespace

PolledConnection::PolledConnection(u64 patience_ns)
    : patience_ns_{patience_ns}, wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
  ::signal(SIGPIPE, SIG_IGN);  // the libraries write to a socket as to any file
}

bool PolledConnection::is_lost() {
  auto const lock = Lock{mutex_};
  return lost_;
}

void PolledConnection::lose(std::string why) {
  if (lost_) return;
  lost_ = true;
  why_ = std::move(why);
  for (auto* const each : waited_for_) each->lost_ = each->left_ != 0;  // what cut() says of them is no answer
  cut();
}

/// What the socket takes goes at once; the rest when whoever drives the connection sees that there is room.
void PolledConnection::send_now() {
  if ((wanted_events() & POLLOUT) != 0 && !service(POLLOUT)) return lose(reason());
  if (driven_) static_cast<void>(::eventfd_write(wake_.get(), 1));
}

Result<> PolledConnection::carry_out(Batch& batch, std::function<Result<>()> const& start) {
  auto lock = Lock{mutex_};
  if (lost_) return fail(Errc::gone, why_);
  if (waited_for_.empty()) heard_ns_ = host::monotonic_ns();
  waited_for_.push_back(&batch);
  auto const started = start();
  send_now();
  while (!batch.lost_ && batch.left_ != 0) {
    if (driven_) {
      changed_.wait(lock);
      continue;
    }
    driven_ = true;
    drive(lock);
    driven_ = false;
    changed_.notify_all();
  }
  std::erase(waited_for_, &batch);
  return batch.lost_ ? fail(Errc::gone, why_) : started;
}

void PolledConnection::drive(Lock& lock) {
  auto const deadline = heard_ns_ + patience_ns_;
  auto const now = host::monotonic_ns();
  if (now >= deadline) return lose("the server does not answer");
  auto const wait_ms = std::min((deadline - now) / ms_ns + 1, longest_poll_ms);
  auto fds = std::array<pollfd, 2>{pollfd{.fd = descriptor(), .events = wanted_events(), .revents = 0},
                                   pollfd{.fd = wake_.get(), .events = POLLIN, .revents = 0}};
  lock.unlock();
  static_cast<void>(::poll(fds.data(), fds.size(), static_cast<int>(wait_ms)));
  lock.lock();
  if (fds[1].revents != 0) {
    auto count = eventfd_t{};
    static_cast<void>(::eventfd_read(wake_.get(), &count));
  }
  if ((fds[0].revents & POLLIN) != 0) heard_ns_ = host::monotonic_ns();
  if (!service(fds[0].revents)) lose(reason());
}

}  // namespace vireo::image::polled
