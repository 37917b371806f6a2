#include "image/throttle/throttle.h"

#include <gtest/gtest.h>

#include "image/nbd/testing/memory_image.h"
#include "image/throttle/throttled_image.h"

namespace vireo::image {
namespace {

constexpr u64 second{1'000'000'000};

/// Time that passes only while someone waits.
struct Clock {
  u64 now{1000 * second};
  ThrottleClock clock() {
    return {.now_ns = [this] { return now; }, .wait_until = [this](u64 until) { now = std::max(now, until); }};
  }
  double seconds_for(Throttle& throttle, u64 requests, u64 bytes) {
    auto const start = now;
    for (auto each = u64{0}; each < requests; ++each) throttle.pass(bytes);
    return static_cast<double>(now - start) / second;
  }
};

TEST(Throttle, KeepsOperationsToTheirRate) {
  auto clock = Clock{};
  auto throttle = Throttle{{.operations = 100, .operations_burst = 1}, clock.clock()};
  EXPECT_NEAR(clock.seconds_for(throttle, 1000, 4096), 10, 0.02);
}

TEST(Throttle, KeepsBytesToTheirRateWhateverTheSizeOfRequests) {
  auto clock = Clock{};
  auto throttle = Throttle{{.bytes = 1 << 20}, clock.clock()};
  EXPECT_NEAR(clock.seconds_for(throttle, 2560, 4096), 10, 0.2);
  EXPECT_NEAR(clock.seconds_for(throttle, 2, 5 << 20), 10, 0.2);
}

TEST(Throttle, TheTighterOfTwoLimitsCounts) {
  auto clock = Clock{};
  auto throttle = Throttle{{.operations = 100, .bytes = 1 << 20}, clock.clock()};
  EXPECT_NEAR(clock.seconds_for(throttle, 100, 512), 1, 0.2);
  EXPECT_NEAR(clock.seconds_for(throttle, 100, 1 << 20), 100, 1);
}

TEST(Throttle, LetsABurstGoAtOnceAfterARestAndNoMore) {
  auto clock = Clock{};
  auto throttle = Throttle{{.operations = 100, .operations_burst = 500}, clock.clock()};
  EXPECT_EQ(clock.seconds_for(throttle, 500, 0), 0);
  EXPECT_NEAR(clock.seconds_for(throttle, 100, 0), 1, 0.02);
  clock.now += 2 * second;
  EXPECT_EQ(clock.seconds_for(throttle, 200, 0), 0);
  EXPECT_NEAR(clock.seconds_for(throttle, 100, 0), 1, 0.02);
  clock.now += 3600 * second;
  EXPECT_EQ(clock.seconds_for(throttle, 500, 0), 0);
}

TEST(Throttle, LetsEverybodyGoWhileItsMachineStops) {
  auto clock = Clock{};
  auto* waited_on = static_cast<Throttle*>(nullptr);
  auto throttle = Throttle{{.operations = 1, .operations_burst = 1},
                           {.now_ns = [&] { return clock.now; },
                            .wait_until =
                                [&](u64 until) {
                                  clock.now = until;
                                  waited_on->hurry(true);
                                }}};
  waited_on = &throttle;
  EXPECT_LT(clock.seconds_for(throttle, 100, 0), 0.1);
  throttle.hurry(false);
  EXPECT_LT(clock.seconds_for(throttle, 1, 0), 0.1);
}

TEST(Throttle, FollowsLimitsThatChange) {
  auto clock = Clock{};
  auto throttle = Throttle{{.operations = 10, .operations_burst = 1}, clock.clock()};
  EXPECT_NEAR(clock.seconds_for(throttle, 100, 0), 10, 0.2);
  throttle.set({.operations = 1000, .operations_burst = 1});
  EXPECT_NEAR(clock.seconds_for(throttle, 1000, 0), 1, 0.02);
  throttle.set({});
  EXPECT_EQ(clock.seconds_for(throttle, 1000, 1 << 20), 0);
}

TEST(Throttle, LimitsAGroupTogether) {
  auto const one = *throttle_group("together", {.operations = 50});
  auto const other = *throttle_group("together", {});
  EXPECT_EQ(one, other);
  EXPECT_EQ(throttle_group("together", {.operations = 60}).error().code(), Errc::invalid);
  EXPECT_NE(*throttle_group("apart", {.operations = 60}), one);
}

TEST(Throttle, RefusesLimitsThatMakeNoSense) {
  EXPECT_FALSE(check_limits({.bytes = 100}));
  EXPECT_FALSE(check_limits({.operations_burst = 100}));
  EXPECT_FALSE(check_limits({.bytes_burst = 100}));
  EXPECT_TRUE(check_limits({.operations = 1, .bytes = 65536}));
}

TEST(Throttle, OfADiskCountsReadsWritesAndZeroesAndNoFlush) {
  auto clock = Clock{};
  auto const throttle =
      std::make_shared<Throttle>(ThrottleLimits{.operations = 1, .operations_burst = 1}, clock.clock());
  auto disk = ThrottledImage{std::make_unique<nbd::MemoryImage>(1 << 20), throttle};
  auto bytes = std::vector<std::byte>(512);
  auto const start = clock.now;
  for (auto each = 0; each < 3; ++each) {
    ASSERT_TRUE(disk.read(0, bytes));
    ASSERT_TRUE(disk.write(0, bytes));
    ASSERT_TRUE(disk.write_zeroes(0, 512, true));
    ASSERT_TRUE(disk.discard(0, 512));
    ASSERT_TRUE(disk.flush());
  }
  EXPECT_EQ(clock.now - start, 11 * second);
}

}  // namespace
}  // namespace vireo::image
