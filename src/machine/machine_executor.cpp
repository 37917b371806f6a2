#include "machine/machine_executor.h"

#include <sys/epoll.h>

#include "host/clock.h"
#include "observe/log.h"

namespace vireo::machine {
namespace {

u32 epoll_events(u8 interest) {
  auto events = u32{0};
  if ((interest & bus::Executor::readable) != 0) events |= EPOLLIN;
  if ((interest & bus::Executor::writable) != 0) events |= EPOLLOUT;
  return events;
}

u8 ready_events(u32 events) {
  auto ready = u8{0};
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) ready |= bus::Executor::readable;
  if ((events & (EPOLLOUT | EPOLLERR)) != 0) ready |= bus::Executor::writable;
  return ready;
}

}  // namespace

/// Callbacks already on their way when the timer is cancelled see another generation and do nothing.
class MachineExecutor::LoopTimer final : public bus::Timer {
 public:
  LoopTimer(MachineExecutor& executor, std::function<void()> on_expiry)
      : executor_{executor}, core_{std::make_shared<Core>(std::move(on_expiry))} {}
  ~LoopTimer() override { cancel(); }

  void arm(u64 deadline_ns) override {
    cancel();
    auto work = [core = core_, generation = core_->generation, &executor = executor_] {
      executor.with([&] {
        if (core->generation == generation) core->on_expiry();
      });
    };
    handle_ = executor_.loop_->at(deadline_ns + executor_.origin_ns_, std::move(work));
  }
  void cancel() override {
    ++core_->generation;
    executor_.loop_->cancel(handle_);
    handle_ = host::EventLoop::Timer::none;
  }

 private:
  struct Core {
    explicit Core(std::function<void()> f) : on_expiry{std::move(f)} {}
    std::function<void()> on_expiry;
    u64 generation{};
  };
  MachineExecutor& executor_;
  std::shared_ptr<Core> core_;
  host::EventLoop::Timer handle_{host::EventLoop::Timer::none};
};

class MachineExecutor::LoopWatch final : public Watch {
 public:
  LoopWatch(MachineExecutor& executor, int fd, u8 interest, std::function<void(u8)> on_ready)
      : executor_{executor}, fd_{fd}, core_{std::make_shared<Core>(std::move(on_ready))} {
    set_interest(interest);
  }
  ~LoopWatch() override {
    core_->alive = false;
    set_interest(0);
  }

  /// No interest takes the descriptor out of the loop: epoll would go on reporting a hang-up.
  void set_interest(u8 interest) override {
    if (interest == interest_) return;
    auto const was_added = interest_ != 0;
    interest_ = interest;
    core_->interest = interest;
    if (interest == 0) {
      executor_.loop_->remove(fd_);
      return;
    }
    auto ready = [core = core_, &executor = executor_](u32 events) {
      executor.with([&] {
        auto const wanted = static_cast<u8>(ready_events(events) & core->interest);
        if (core->alive && wanted != 0) core->on_ready(wanted);
      });
    };
    auto const result = was_added ? executor_.loop_->modify(fd_, epoll_events(interest))
                                  : executor_.loop_->add(fd_, epoll_events(interest), std::move(ready));
    if (!result) observe::log(observe::Level::error, "executor", "{}", result.error().what());
  }

 private:
  struct Core {
    explicit Core(std::function<void(u8)> f) : on_ready{std::move(f)} {}
    std::function<void(u8)> on_ready;
    u8 interest{};
    bool alive{true};
  };
  MachineExecutor& executor_;
  int fd_;
  u8 interest_{};
  std::shared_ptr<Core> core_;
};

Result<std::unique_ptr<MachineExecutor>> MachineExecutor::create() {
  auto loop = TRY(host::EventLoop::create());
  return std::unique_ptr<MachineExecutor>{new MachineExecutor{std::move(loop)}};
}

MachineExecutor::MachineExecutor(std::unique_ptr<host::EventLoop> loop)
    : loop_{std::move(loop)}, origin_ns_{host::monotonic_ns()}, thread_{[this] { loop_->run(); }} {}

MachineExecutor::~MachineExecutor() {
  loop_->stop();
  thread_.join();
}

void MachineExecutor::stop_clock() { stopped_at_ns_ = now_ns(); }
void MachineExecutor::start_clock() {
  origin_ns_ = host::monotonic_ns() - now_ns();
  stopped_at_ns_ = ~u64{0};
}

u64 MachineExecutor::now_ns() const {
  auto const stopped = stopped_at_ns_.load();
  return stopped != ~u64{0} ? stopped : host::monotonic_ns() - origin_ns_;
}

std::unique_ptr<bus::Timer> MachineExecutor::make_timer(std::function<void()> on_expiry) {
  return std::make_unique<LoopTimer>(*this, std::move(on_expiry));
}

void MachineExecutor::post(std::function<void()> work) {
  loop_->post([this, work = std::move(work)] { with(work); });
}

std::unique_ptr<bus::Executor::Watch> MachineExecutor::watch(int fd, u8 interest,
                                                             std::function<void(u8)> on_ready) {
  return std::make_unique<LoopWatch>(*this, fd, interest, std::move(on_ready));
}

}  // namespace vireo::machine
