#pragma once

#include <functional>
#include <memory>

#include "vocab/integers.h"

namespace vireo::bus {

/// A one-shot alarm on the machine's clock. Its callback runs on the executor.
class Timer {
 public:
  virtual ~Timer() = default;             // cancels
  virtual void arm(u64 deadline_ns) = 0;  // absolute, Executor::now_ns(); replaces an earlier deadline
  virtual void cancel() = 0;
};

/// Where a machine's devices run: one call at a time, whichever thread it comes from.
class Executor {
 public:
  virtual ~Executor() = default;

  /// The machine's clock in nanoseconds: monotonic, stands still while the machine is paused. Any thread.
  virtual u64 now_ns() const = 0;
  virtual std::unique_ptr<Timer> make_timer(std::function<void()> on_expiry) = 0;
  /// Runs `work` on the executor soon. Any thread.
  virtual void post(std::function<void()> work) = 0;

  enum Interest : u8 { readable = 1, writable = 2 };
  class Watch {  // destroying it ends the watch
   public:
    virtual ~Watch() = default;
    virtual void set_interest(u8 interest) = 0;
  };
  /// Calls `on_ready(events)` on the executor while the file descriptor is ready (level-triggered).
  virtual std::unique_ptr<Watch> watch(int fd, u8 interest, std::function<void(u8)> on_ready) = 0;
};

}  // namespace vireo::bus
