#pragma once

#include <condition_variable>
#include <mutex>

#include "bus/manual_executor.h"

namespace vireo::device::virtio::testing {

/// A ManualExecutor to which other threads may post.
class WaitingExecutor final : public bus::ManualExecutor {
 public:
  void post(std::function<void()> work) override {
    auto const lock = std::lock_guard{mutex_};
    waiting_.push_back(std::move(work));
    wake_.notify_one();
  }

  /// Runs what is posted, waiting for more, until `done()`.
  template <typename Done>
  void run_until(Done done) {
    while (!done()) {
      auto lock = std::unique_lock{mutex_};
      wake_.wait(lock, [this] { return !waiting_.empty(); });
      auto const work = std::exchange(waiting_, {});
      lock.unlock();
      for (auto const& job : work) job();
    }
  }
  /// Runs what is posted now.
  void run_waiting() {
    auto lock = std::unique_lock{mutex_};
    auto const work = std::exchange(waiting_, {});
    lock.unlock();
    for (auto const& job : work) job();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::function<void()>> waiting_;
};

}  // namespace vireo::device::virtio::testing
