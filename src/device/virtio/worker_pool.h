#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "vocab/guarded.h"

namespace vireo::device::virtio {

/// A few threads for work that blocks. Jobs begin in the order of submit().
class WorkerPool {
 public:
  WorkerPool() = default;
  ~WorkerPool() { finish(); }
  WorkerPool(WorkerPool const&) = delete;
  WorkerPool& operator=(WorkerPool const&) = delete;

  void start(u32 threads);
  void submit(std::function<void()> job);
  /// Runs what was submitted, then ends the threads.
  void finish();

 private:
  void run();

  RankedMutex<LockRank::queue> mutex_;
  std::condition_variable_any wake_;
  std::deque<std::function<void()>> jobs_;
  bool ending_{false};
  std::vector<std::thread> threads_;  // the owner's thread only
};

}  // namespace vireo::device::virtio
