#include "device/virtio/worker_pool.h"

#include <mutex>

namespace vireo::device::virtio {

void WorkerPool::start(u32 threads) {
  if (!threads_.empty()) return;
  ending_ = false;
  for (auto i = u32{0}; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

void WorkerPool::submit(std::function<void()> job) {
  {
    auto const lock = std::lock_guard{mutex_};
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void WorkerPool::finish() {
  {
    auto const lock = std::lock_guard{mutex_};
    ending_ = true;
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

void WorkerPool::run() {
  for (auto lock = std::unique_lock{mutex_};;) {
    wake_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    auto const job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    lock.lock();
  }
}

}  // namespace vireo::device::virtio
