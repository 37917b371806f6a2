#include "machine/control/event_log.h"

#include <gtest/gtest.h>

#include <thread>

namespace vireo::machine {
namespace {

constexpr u64 for_ever_ns{600'000'000'000};

TEST(EventLog, GivesWhatCameAfterANumberInOrder) {
  auto log = EventLog{};
  log.add("started", "", "");
  log.add("paused", "", "by hand");
  log.add("job", "disk0", "mirror");

  auto const events = log.wait(1, 0);

  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].sequence, 2U);
  EXPECT_EQ(events[0].text, "by hand");
  EXPECT_EQ(events[1].subject, "disk0");
  EXPECT_EQ(log.last(), 3U);
}

TEST(EventLog, WaitsForTheNextEvent) {
  auto log = EventLog{};
  auto other = std::thread{[&] { log.add("paused", "", ""); }};

  auto const events = log.wait(0, for_ever_ns);

  other.join();
  EXPECT_EQ(events.size(), 1U);
}

TEST(EventLog, LetsEverybodyGoWhenItCloses) {
  auto log = EventLog{};
  auto other = std::thread{[&] { log.close(); }};

  auto const events = log.wait(0, for_ever_ns);

  other.join();
  EXPECT_TRUE(events.empty());
}

TEST(EventLog, KeepsTheLastOnes) {
  auto log = EventLog{};
  for (auto i = std::size_t{0}; i < EventLog::kept + 5; ++i) log.add("tick", "", "");

  auto const events = log.wait(0, 0);

  EXPECT_EQ(events.size(), EventLog::kept);
  EXPECT_EQ(events.front().sequence, 6U);
}

}  // namespace
}  // namespace vireo::machine
