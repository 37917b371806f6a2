#include "host/event_loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <string>
#include <thread>

#include "host/clock.h"

namespace vireo::host {
namespace {

TEST(EventLoop, RunsWorkPostedByAnotherThread) {
  auto const loop = *EventLoop::create();
  auto ran_in_loop = false;
  auto poster = std::thread{[&] {
    loop->post([&] {
      ran_in_loop = loop->in_loop_thread();
      loop->stop();
    });
  }};
  loop->run();
  poster.join();
  EXPECT_TRUE(ran_in_loop);
}

TEST(EventLoop, RunsTimersInOrderOfTheirDeadlines) {
  auto const loop = *EventLoop::create();
  auto order = std::string{};
  auto const now = monotonic_ns();
  loop->at(now + 3'000'000, [&] {
    order += 'c';
    loop->stop();
  });
  loop->at(now + 1'000'000, [&] { order += 'a'; });
  loop->at(now + 2'000'000, [&] { order += 'b'; });
  loop->run();
  EXPECT_EQ(order, "abc");
  EXPECT_GE(monotonic_ns(), now + 3'000'000);
}

TEST(EventLoop, RunsADeadlineOfThePastAndNoCancelledOne) {
  auto const loop = *EventLoop::create();
  auto cancelled_ran = false;
  auto const timer = loop->at(1, [&] { cancelled_ran = true; });
  EXPECT_TRUE(loop->cancel(timer));
  EXPECT_FALSE(loop->cancel(timer));
  loop->at(0, [&] { loop->stop(); });
  loop->run();
  EXPECT_FALSE(cancelled_ran);
}

TEST(EventLoop, CallsBackForAReadyDescriptorUntilRemoved) {
  auto const loop = *EventLoop::create();
  auto const event = Descriptor{::eventfd(1, EFD_NONBLOCK)};
  auto calls = 0;
  ASSERT_TRUE(loop->add(event.get(), EPOLLIN, [&](u32 events) {
    EXPECT_EQ(events, EPOLLIN);
    ++calls;
    loop->remove(event.get());
    loop->post([&] { loop->stop(); });
  }));
  EXPECT_EQ(loop->add(event.get(), EPOLLIN, [](u32) {}).error().code(), Errc::busy);
  loop->run();
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace vireo::host
