#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "image/throttle/rate.h"
#include "vocab/result.h"

namespace vireo::image {

/// 0: no limit; a burst of 0: a tenth of a second's worth.
struct ThrottleLimits {
  u64 operations{};  // a second
  u64 operations_burst{};
  u64 bytes{};  // a second
  u64 bytes_burst{};
  bool operator==(ThrottleLimits const&) const = default;
  bool any() const { return operations != 0 || bytes != 0; }
};
/// Errc::invalid for limits so low that a single request would take minutes, and for a burst without its limit.
Result<> check_limits(ThrottleLimits const& limits);

/// Where time comes from; tests bring their own.
struct ThrottleClock {
  std::function<u64()> now_ns;
  std::function<void(u64 until_ns)> wait_until;
};
ThrottleClock const& host_clock();

/// Shared by all that are limited together. Any thread.
class Throttle {
 public:
  explicit Throttle(ThrottleLimits const& limits, ThrottleClock clock = host_clock());
  /// Returns when a request of so many bytes may go; requests go in the order in which they come.
  void pass(u64 bytes);
  /// While it is true nobody waits, also of those who do already: a machine that stops lets its requests end.
  void hurry(bool hurried) { hurried_ = hurried; }
  /// Holds for requests that come from now on.
  void set(ThrottleLimits const& limits);
  ThrottleLimits limits();

 private:
  ThrottleClock clock_;
  std::atomic<bool> limited_;
  std::atomic<bool> hurried_{};
  std::mutex mutex_;  // the rest
  ThrottleLimits limits_;
  Rate operations_;
  Rate bytes_;
};

/// The process's throttle of that name, made when the first disk names it. Limits given for one that is there
/// must be its own, or none: Errc::invalid.
Result<std::shared_ptr<Throttle>> throttle_group(std::string const& name, ThrottleLimits const& limits);

}  // namespace vireo::image
