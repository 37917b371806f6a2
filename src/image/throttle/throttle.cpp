#include "image/throttle/throttle.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "host/clock.h"

namespace vireo::image {
namespace {

constexpr u64 least_bytes{64 * 1024};
constexpr u64 longest_wait_ns{20'000'000};  // how late hurry() is noticed

}  // namespace

Result<> check_limits(ThrottleLimits const& limits) {
  if (limits.bytes != 0 && limits.bytes < least_bytes) {
    return fail(Errc::invalid, fmt::format("bps={}: at least 64KiB a second", limits.bytes));
  }
  if (limits.operations_burst != 0 && limits.operations == 0) {
    return fail(Errc::invalid, "iops-burst needs iops");
  }
  if (limits.bytes_burst != 0 && limits.bytes == 0) return fail(Errc::invalid, "bps-burst needs bps");
  return {};
}

ThrottleClock const& host_clock() {
  static auto const clock =
      ThrottleClock{.now_ns = host::monotonic_ns, .wait_until = [](u64 until_ns) {
                      auto const now = host::monotonic_ns();
                      if (until_ns > now) std::this_thread::sleep_for(std::chrono::nanoseconds{until_ns - now});
                    }};
  return clock;
}

Throttle::Throttle(ThrottleLimits const& limits, ThrottleClock clock) : clock_{std::move(clock)} {
  set(limits);
}

void Throttle::set(ThrottleLimits const& limits) {
  auto const lock = std::lock_guard{mutex_};
  limits_ = limits;
  limited_ = limits.any();
  operations_ = Rate{limits.operations, limits.operations_burst};
  bytes_ = Rate{limits.bytes, limits.bytes_burst};
}

ThrottleLimits Throttle::limits() {
  auto const lock = std::lock_guard{mutex_};
  return limits_;
}

void Throttle::pass(u64 bytes) {
  if (!limited_) return;
  auto const now = clock_.now_ns();
  auto const until = [&] {
    auto const lock = std::lock_guard{mutex_};
    return std::max(operations_.take(1, now), bytes_.take(bytes, now));
  }();
  for (auto passed = now; passed < until && !hurried_; passed = clock_.now_ns()) {
    clock_.wait_until(std::min(until, passed + longest_wait_ns));
  }
}

Result<std::shared_ptr<Throttle>> throttle_group(std::string const& name, ThrottleLimits const& limits) {
  static auto mutex = std::mutex{};
  static auto groups = std::map<std::string, std::weak_ptr<Throttle>>{};
  auto const lock = std::lock_guard{mutex};
  if (auto const found = groups[name].lock()) {
    if (!limits.any() || found->limits() == limits) return found;
    return fail(Errc::invalid, fmt::format("throttle-group={}: another disk gives it other limits", name));
  }
  auto fresh = std::make_shared<Throttle>(limits);
  groups[name] = fresh;
  return fresh;
}

}  // namespace vireo::image
