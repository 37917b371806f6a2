#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "bus/executor.h"
#include "host/event_loop.h"
#include "vocab/guarded.h"

namespace vireo::machine {

/// The machine's one executor: an event loop on a thread of its own and a lock. Device code runs under the
/// lock, on the loop's thread or, for register accesses, on the vCPU's own.
class MachineExecutor final : public bus::Executor {
 public:
  static Result<std::unique_ptr<MachineExecutor>> create();
  ~MachineExecutor() override;  // ends the loop; all timers and watches are gone before

  /// Runs `f` as the executor. Not from inside device code.
  template <typename F>
  decltype(auto) with(F&& f) {
    auto const lock = std::lock_guard{mutex_};
    return std::forward<F>(f)();
  }

  /// While nothing that arms timers runs: the machine's clock stands still from stop_clock() to start_clock().
  void stop_clock();
  void start_clock();

  u64 now_ns() const override;
  std::unique_ptr<bus::Timer> make_timer(std::function<void()> on_expiry) override;
  void post(std::function<void()> work) override;
  std::unique_ptr<Watch> watch(int fd, u8 interest, std::function<void(u8)> on_ready) override;

 private:
  class LoopTimer;
  class LoopWatch;

  explicit MachineExecutor(std::unique_ptr<host::EventLoop> loop);

  std::unique_ptr<host::EventLoop> loop_;
  std::atomic<u64> origin_ns_{};             // host time when the machine's clock showed 0
  std::atomic<u64> stopped_at_ns_{~u64{0}};  // machine time; all ones: it runs
  RankedMutex<LockRank::executor> mutex_;
  std::thread thread_;
};

}  // namespace vireo::machine
