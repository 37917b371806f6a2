#pragma once

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "vocab/integers.h"

namespace vireo::image {

/// Ranges of a disk that one thread at a time works on.
class RangeLock {
 public:
  void lock(u64 at, u64 length) {
    auto guard = std::unique_lock{mutex_};
    released_.wait(guard, [&] {
      return std::ranges::none_of(
          held_, [&](Range const& each) { return each.at < at + length && at < each.at + each.length; });
    });
    held_.push_back({at, length});
  }
  void unlock(u64 at, u64 length) {
    {
      auto const guard = std::lock_guard{mutex_};
      held_.erase(std::ranges::find(held_, Range{at, length}));
    }
    released_.notify_all();
  }

 private:
  struct Range {
    u64 at{};
    u64 length{};
    bool operator==(Range const&) const = default;
  };
  std::mutex mutex_;
  std::condition_variable released_;
  std::vector<Range> held_;
};

/// Held as long as it lives.
class LockedRange {
 public:
  LockedRange(RangeLock& lock, u64 at, u64 length) : lock_{lock}, at_{at}, length_{length} {
    lock_.lock(at, length);
  }
  LockedRange(LockedRange const&) = delete;
  ~LockedRange() { lock_.unlock(at_, length_); }

 private:
  RangeLock& lock_;
  u64 at_;
  u64 length_;
};

}  // namespace vireo::image
