#include "machine/machine_executor.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <future>

namespace vireo::machine {
namespace {

TEST(MachineExecutor, RunsPostedWorkInOrder) {
  auto executor = MachineExecutor::create().value();
  auto seen = std::vector<int>{};
  auto done = std::promise<void>{};

  executor->post([&] { seen.push_back(1); });
  executor->post([&] { seen.push_back(2); });
  executor->post([&] { done.set_value(); });
  done.get_future().wait();

  EXPECT_EQ(executor->with([&] { return seen; }), (std::vector<int>{1, 2}));
}

TEST(MachineExecutor, FiresATimerAtItsDeadlineAndNeverACancelledOne) {
  auto executor = MachineExecutor::create().value();
  auto cancelled_fired = false;
  auto done = std::promise<u64>{};
  auto cancelled = executor->make_timer([&] { cancelled_fired = true; });
  auto timer = executor->make_timer([&] { done.set_value(executor->now_ns()); });
  auto const deadline = executor->now_ns() + 2'000'000;

  executor->with([&] {
    cancelled->arm(executor->now_ns());
    cancelled->cancel();
    timer->arm(deadline);
  });
  auto const fired_at = done.get_future().get();

  EXPECT_GE(fired_at, deadline);
  EXPECT_FALSE(executor->with([&] { return cancelled_fired; }));
}

TEST(MachineExecutor, TellsOfAReadableDescriptorUntilTheWatchIsGone) {
  auto executor = MachineExecutor::create().value();
  auto ends = std::array<int, 2>{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  auto done = std::promise<u8>{};
  auto watch = std::unique_ptr<bus::Executor::Watch>{};
  executor->with([&] {
    watch = executor->watch(ends[0], bus::Executor::readable, [&](u8 events) {
      watch->set_interest(0);
      done.set_value(events);
    });
  });

  ASSERT_EQ(::write(ends[1], "x", 1), 1);

  EXPECT_EQ(done.get_future().get(), bus::Executor::readable);
  executor->with([&] { watch.reset(); });
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace vireo::machine
