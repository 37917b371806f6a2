#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "host/descriptor.h"
#include "vocab/guarded.h"
#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::host {

/// One thread's loop over file descriptors, timers and posted work. run() belongs to that thread; everything
/// else may be called from any. Callbacks run on the loop's thread, one at a time, and may add, remove and
/// post.
class EventLoop {
 public:
  using Ready = std::function<void(u32 events)>;  // EPOLLIN | EPOLLOUT | ...
  using Work = std::function<void()>;
  enum class Timer : u64 { none };

  static Result<std::unique_ptr<EventLoop>> create();
  ~EventLoop();

  /// The descriptor stays the caller's, who removes it before closing it. Added twice: Errc::busy.
  Result<> add(int fd, u32 events, Ready ready);
  Result<> modify(int fd, u32 events);
  /// From the loop's thread: `ready` is not called again. From others: one call may still be under way.
  void remove(int fd);

  void post(Work work);
  /// Calls `work` once when CLOCK_MONOTONIC reaches the deadline.
  Timer at(u64 deadline_ns, Work work);
  /// False when it has run, is running or never was.
  bool cancel(Timer timer);

  /// Returns after stop(); work posted before stop() has run.
  void run();
  void stop();
  bool in_loop_thread() const;

 private:
  struct Watch {
    Ready ready;
    bool removed{};
  };
  using Deadline = std::pair<u64, u64>;  // time, then order of creation
  struct Shared {
    std::unordered_map<int, std::shared_ptr<Watch>> watches;
    std::map<Deadline, Work> timers;
    std::unordered_map<u64, u64> deadlines;  // timer number -> time
    std::vector<Work> posted;
    u64 next_timer{1};
    std::optional<u64> armed;  // what timer_ is set to
    bool stopping{};
  };

  EventLoop() = default;
  void wake();
  void arm(Shared& shared);
  void run_posted();
  void run_timers();
  void dispatch(int fd, u32 events);

  Descriptor epoll_;
  Descriptor wake_;
  Descriptor timer_;
  std::atomic<int> thread_{0};
  Guarded<Shared, LockRank::queue> shared_;
};

}  // namespace vireo::host
