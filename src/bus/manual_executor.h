#pragma once

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "bus/executor.h"

namespace vireo::bus {

/// An executor for tests: time stands still until advance(), posted work waits for run_posted(), file
/// descriptors are ready when ready() says so.
class ManualExecutor : public Executor {
 public:
  u64 now_ns() const override { return now_; }

  std::unique_ptr<Timer> make_timer(std::function<void()> on_expiry) override {
    return std::make_unique<ManualTimer>(*this, std::move(on_expiry));
  }
  void post(std::function<void()> work) override { posted_.push_back(std::move(work)); }
  std::unique_ptr<Watch> watch(int fd, u8 interest, std::function<void(u8)> on_ready) override {
    return std::make_unique<ManualWatch>(*this, fd, interest, std::move(on_ready));
  }

  /// Moves the clock, firing alarms in the order of their deadlines, each at its own time.
  void advance(u64 ns) {
    auto const until = now_ + ns;
    while (auto* const next = earliest(until)) {
      now_ = std::max(now_, next->deadline);
      next->deadline = never;
      next->on_expiry();
    }
    now_ = until;
  }
  bool run_posted() {
    auto const work = std::exchange(posted_, {});
    for (auto const& job : work) job();
    return !work.empty();
  }
  void ready(int fd, u8 events) {
    auto const watches = watches_;
    for (auto* const watch : watches) {
      auto const wanted = static_cast<u8>(watch->interest & events);
      if (watch->fd == fd && wanted != 0) watch->on_ready(wanted);
    }
  }
  u8 interest(int fd) const {
    for (auto const* const watch : watches_) {
      if (watch->fd == fd) return watch->interest;
    }
    return 0;
  }
  std::size_t armed_timers() const {
    auto const armed = [](auto const* timer) { return timer->deadline != never; };
    return static_cast<std::size_t>(std::count_if(timers_.begin(), timers_.end(), armed));
  }

 private:
  static constexpr u64 never{std::numeric_limits<u64>::max()};

  struct ManualTimer : Timer {
    ManualTimer(ManualExecutor& owner, std::function<void()> expiry)
        : executor{owner}, on_expiry{std::move(expiry)} {
      executor.timers_.push_back(this);
    }
    ~ManualTimer() override { std::erase(executor.timers_, this); }
    void arm(u64 deadline_ns) override { deadline = deadline_ns; }
    void cancel() override { deadline = never; }
    ManualExecutor& executor;
    std::function<void()> on_expiry;
    u64 deadline{never};
  };
  struct ManualWatch : Watch {
    ManualWatch(ManualExecutor& owner, int file, u8 events, std::function<void(u8)> callback)
        : executor{owner}, fd{file}, interest{events}, on_ready{std::move(callback)} {
      executor.watches_.push_back(this);
    }
    ~ManualWatch() override { std::erase(executor.watches_, this); }
    void set_interest(u8 events) override { interest = events; }
    ManualExecutor& executor;
    int fd;
    u8 interest;
    std::function<void(u8)> on_ready;
  };

  ManualTimer* earliest(u64 until) const {
    ManualTimer* best = nullptr;
    for (auto* const timer : timers_) {
      auto const due = timer->deadline <= until && timer->deadline != never;
      if (due && (best == nullptr || timer->deadline < best->deadline)) best = timer;
    }
    return best;
  }

  u64 now_{1'000'000'000};
  std::vector<ManualTimer*> timers_;
  std::vector<ManualWatch*> watches_;
  std::vector<std::function<void()>> posted_;
};

}  // namespace vireo::bus
