#pragma once

#include <mutex>
#include <utility>

#include "vocab/integers.h"

namespace vireo {

/// The order in which locks are taken: a thread that holds one may only take a lock of a higher number.
/// The reason for the order stands beside each.
enum class LockRank : u8 {
  machine = 10,      // life cycle: outermost, its holder starts and stops everything else
  executor = 20,     // devices: entered from vCPUs and the event loop, calls down into all below
  image = 30,        // disks: entered from a device's worker, and by devices for geometry
  net = 40,          // switch and NAT ports
  memory = 50,       // the region list
  vcpu = 60,         // a vCPU's mailbox: anything may wake a vCPU
  queue = 70,        // work handed to another thread
  code = 80,         // the cache of generated host code: a vCPU looks up or adds while it decodes
  code_memory = 82,  // where that code lies: inside the cache's lock, and from tests alone
  log = 90,          // anything may log
};

#ifdef VIREO_LOCK_CHECKS
namespace detail {
void enter_lock(LockRank rank);  // aborts with both ranks named when the order is broken
void leave_lock(LockRank rank);
}  // namespace detail
#else
namespace detail {
inline void enter_lock(LockRank) {}
inline void leave_lock(LockRank) {}
}  // namespace detail
#endif

/// A mutex with its place in the order.
template <LockRank rank>
class RankedMutex {
 public:
  void lock() {
    detail::enter_lock(rank);
    mutex_.lock();
  }
  bool try_lock() {
    if (!mutex_.try_lock()) return false;
    detail::enter_lock(rank);
    return true;
  }
  void unlock() {
    mutex_.unlock();
    detail::leave_lock(rank);
  }

 private:
  std::mutex mutex_;
};

/// Data that lives inside its lock: reached only through with().
template <typename T, LockRank rank>
class Guarded {
 public:
  template <typename... Arguments>
  explicit Guarded(Arguments&&... arguments) : data_{std::forward<Arguments>(arguments)...} {}

  template <typename F>
  decltype(auto) with(F&& f) {
    auto const lock = std::lock_guard{mutex_};
    return std::forward<F>(f)(data_);
  }

 private:
  RankedMutex<rank> mutex_;
  T data_;
};

}  // namespace vireo
