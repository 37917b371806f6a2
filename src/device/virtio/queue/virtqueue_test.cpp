#include "device/virtio/queue/virtqueue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "device/virtio/testing/driver_queue.h"

namespace vireo::device::virtio {
namespace {

using namespace spec;
using testing::Buffer;
using testing::DriverQueue;

constexpr u64 area{0x10000};
constexpr u64 table{0x40000};
constexpr u64 data{0x80000};
constexpr u64 border{2 * MiB};  // between two regions
constexpr u64 rom{16 * MiB};
constexpr u16 entries{8};

/// A queue of eight entries and its driver, on split and packed rings.
class VirtqueueTest : public ::testing::TestWithParam<bool> {
 protected:
  VirtqueueTest() {
    memory.add({Gpa{0}, border}, memory::RegionKind::ram).value();
    memory.add({Gpa{border}, border}, memory::RegionKind::ram).value();
    memory.add({Gpa{rom}, page_size}, memory::RegionKind::rom).value();
    restart();
  }
  /// A new queue and a new driver on empty rings.
  void restart(bool indirect = true) {
    memory.write(Gpa{area}, std::vector<std::byte>(DriverQueue::area_bytes)).value();
    queue.reset();
    queue.state().size = entries;
    queue.state().descriptors = area;
    queue.state().driver = area + DriverQueue::driver_offset;
    queue.state().device = area + DriverQueue::device_offset;
    queue.map({.packed = GetParam(), .indirect = indirect}).value();
    driver = DriverQueue::make(GetParam(), memory, entries, area);
  }
  std::string error_of_pop() {
    auto const chain = queue.pop();
    return chain ? "" : chain.error().what();
  }
  /// Overwrites a descriptor that add() wrote, keeping the bits that make it available.
  void forge(u16 slot, u64 address, u32 length, u16 flags, u16 next = 0) {
    auto const at = area + slot * u64{16};
    if (!GetParam()) return memory.write_as(Gpa{at}, SplitDescriptor{address, length, flags, next}).value();
    auto const id = memory.read_as<PackedDescriptor>(Gpa{at})->id;
    auto const available = static_cast<u16>(flags | VIRTQ_DESC_F_AVAIL);
    memory.write_as(Gpa{at}, PackedDescriptor{address, length, id, available}).value();
  }
  static Buffer readable(u64 at, u32 length) { return {Gpa{at}, length, false}; }
  static Buffer writable(u64 at, u32 length) { return {Gpa{at}, length, true}; }

  memory::GuestMemory memory;
  Virtqueue queue{memory, 16};
  std::unique_ptr<DriverQueue> driver;
};
INSTANTIATE_TEST_SUITE_P(Rings, VirtqueueTest, ::testing::Bool(),
                         [](auto const& ring) { return ring.param ? "Packed" : "Split"; });

TEST_P(VirtqueueTest, IsEmptyUntilTheDriverAddsAChain) {
  EXPECT_FALSE(queue.pop()->has_value());
  driver->add({readable(data, 10), writable(data + 0x100, 20)});
  auto const chain = queue.pop().value().value();
  EXPECT_EQ(chain.readable_bytes, 10U);
  EXPECT_EQ(chain.writable_bytes, 20U);
  EXPECT_FALSE(queue.pop()->has_value());
}

TEST_P(VirtqueueTest, GoesAroundTheRingManyTimesInAnyOrder) {
  for (auto round = 0; round < 1000; ++round) {
    auto const first = driver->add({readable(data, 1), writable(data, 1)});
    auto const second = driver->add({writable(data, 1), writable(data, 1), writable(data, 1)});
    auto const a = queue.pop().value().value();
    auto const b = queue.pop().value().value();
    queue.push(b, 2);
    queue.push(a, 1);
    ASSERT_EQ(driver->poll(), (testing::Used{second, 2}));
    ASSERT_EQ(driver->poll(), (testing::Used{first, 1}));
  }
}

TEST_P(VirtqueueTest, ReadsIndirectTables) {
  driver->add({readable(data, 3), readable(data + 5, 4), writable(data + 0x100, 5)}, table);
  auto const chain = queue.pop().value().value();
  EXPECT_EQ(chain.readable_bytes, 7U);
  EXPECT_EQ(chain.writable_bytes, 5U);
  queue.push(chain, 5);
  EXPECT_EQ(driver->poll()->length, 5U);
}

TEST_P(VirtqueueTest, SplitsABufferAtTheBorderOfRegions) {
  driver->add({writable(border - 10, 30)});
  auto const chain = queue.pop().value().value();
  ASSERT_EQ(chain.writable.size(), 2U);
  EXPECT_EQ(chain.writable[0].host.size(), 10U);
  EXPECT_EQ(chain.writable[1].at, Gpa{border});
  auto const text = std::string_view{"over the border of two regions"};
  EXPECT_EQ(scatter(chain.writable, 0, std::as_bytes(std::span{text})), 30U);
  EXPECT_EQ(memory.read_as<u8>(Gpa{border}).value(), text[10]);
}

TEST_P(VirtqueueTest, TakesBackAPop) {
  driver->add({readable(data, 1), readable(data, 1)});
  driver->add({readable(data, 2)});
  auto const first = queue.pop().value().value();
  auto const second = queue.pop().value().value();
  queue.unpop(second);
  queue.unpop(first);
  EXPECT_EQ(queue.pop().value().value().id, first.id);
  EXPECT_EQ(queue.pop().value().value().id, second.id);
}

TEST_P(VirtqueueTest, GoesOnFromItsStateInANewRing) {
  for (auto i = 0; i < 5; ++i) {
    driver->add({readable(data, 1), readable(data, 1), readable(data, 1)});
    queue.push(queue.pop().value().value(), 0);
    driver->poll();
  }
  driver->add({writable(data, 9)});
  auto copy = Virtqueue{memory, 16};
  copy.state() = queue.state();
  copy.map({.packed = GetParam()}).value();
  copy.push(copy.pop().value().value(), 9);
  EXPECT_EQ(driver->poll()->length, 9U);
}

TEST_P(VirtqueueTest, TellsOfWrittenBuffersBeforeTheDriverIsAndOfTheRing) {
  struct Observer final : memory::WriteObserver {
    void written(Gpa at, u64 length) override {
      heard.push_back({at, length});
      if (at.value < data) return;
      buffers += length;
      known_to_driver |= driver->poll().has_value();
    }
    DriverQueue* driver{};
    std::vector<GpaRange> heard;
    u64 buffers{};
    bool known_to_driver{};
  };
  auto observer = Observer{};
  observer.driver = driver.get();
  driver->add({readable(data, 8), writable(data + 0x100, 20), writable(border - 10, 30)});
  auto const chain = queue.pop().value().value();
  memory.set_write_observer(&observer);

  queue.push(chain, 50);

  memory.set_write_observer(nullptr);
  EXPECT_EQ(observer.buffers, 50U);
  EXPECT_FALSE(observer.known_to_driver);
  EXPECT_TRUE(driver->poll());
  auto const ring = GetParam() ? queue.state().descriptors : queue.state().device;
  EXPECT_TRUE(std::ranges::any_of(observer.heard, [&](auto& range) { return range.contains(Gpa{ring}, 16); }));
}

TEST_P(VirtqueueTest, InterruptsUnlessTheDriverSuppressesIt) {
  driver->add({readable(data, 1)});
  driver->add({readable(data, 1)});
  queue.push(queue.pop().value().value(), 0);
  EXPECT_TRUE(queue.should_notify());
  EXPECT_FALSE(queue.should_notify()) << "nothing was pushed since";
  driver->suppress_interrupts(true);
  queue.push(queue.pop().value().value(), 0);
  EXPECT_FALSE(queue.should_notify());
}

TEST_P(VirtqueueTest, AsksForNotificationsAndSeesWhatCameBefore) {
  queue.disable_notifications();
  EXPECT_FALSE(driver->device_wants_kick());
  EXPECT_FALSE(queue.enable_notifications());
  EXPECT_TRUE(driver->device_wants_kick());
  driver->add({readable(data, 1)});
  EXPECT_TRUE(queue.enable_notifications());
}

TEST_P(VirtqueueTest, RefusesAddressesOutsideOfMemory) {
  for (auto const address : {u64{1} << 40, ~u64{0}, ~u64{0} - 15, 2 * border - 8, rom - 1}) {
    restart();
    driver->add({writable(address, 16)});
    EXPECT_NE(error_of_pop(), "") << address;
    EXPECT_FALSE(queue.pop()->has_value()) << "a broken queue is empty";
  }
}

TEST_P(VirtqueueTest, LetsNothingWriteToRom) {
  driver->add({readable(rom, 16)});
  EXPECT_TRUE(queue.pop()->has_value());
  driver->add({writable(rom, 16)});
  EXPECT_NE(error_of_pop(), "");
}

TEST_P(VirtqueueTest, RefusesZeroLength) {
  driver->add({readable(data, 0)});
  EXPECT_NE(error_of_pop().find("zero length"), std::string::npos);
}

TEST_P(VirtqueueTest, RefusesReadableAfterWritable) {
  driver->add({writable(data, 1), readable(data, 1)});
  EXPECT_NE(error_of_pop().find("after a device-writable"), std::string::npos);
}

TEST_P(VirtqueueTest, RefusesAChainWithoutEnd) {
  driver->add({readable(data, 1)});
  for (auto slot = u16{0}; slot < entries; ++slot) {
    forge(slot, data, 1, VIRTQ_DESC_F_NEXT, static_cast<u16>((slot + 1) % entries));
  }
  EXPECT_NE(error_of_pop(), "");
}

TEST_P(VirtqueueTest, RefusesAnIndirectTableInsideAnother) {
  driver->add({readable(data, 1)}, table);
  memory.write_as<u16>(Gpa{table + (GetParam() ? 14 : 12)}, VIRTQ_DESC_F_INDIRECT).value();
  EXPECT_NE(error_of_pop().find("inside another"), std::string::npos);
}

TEST_P(VirtqueueTest, RefusesIndirectTablesOfBadSizeOrPlace) {
  for (auto const& [address, length] : {std::pair<u64, u32>{table, 0},
                                        {table, 15},
                                        {table, 16 * 1025},
                                        {~u64{0} - 7, 32},
                                        {u64{1} << 40, 16},
                                        {table, 0xffff'fff0}}) {
    restart();
    driver->add({readable(data, 1)});
    forge(0, address, length, VIRTQ_DESC_F_INDIRECT);
    EXPECT_NE(error_of_pop(), "") << length;
  }
}

TEST_P(VirtqueueTest, RefusesIndirectDescriptorsWithoutTheFeature) {
  restart(false);
  driver->add({readable(data, 1)}, table);
  EXPECT_NE(error_of_pop().find("without the feature"), std::string::npos);
}

TEST_P(VirtqueueTest, RefusesFourGigabytesInOneChain) {
  auto large = memory::GuestMemory{};
  large.add({Gpa{0}, 3 * GiB}, memory::RegionKind::ram).value();
  auto builder = ChainBuilder{large};
  EXPECT_TRUE(builder.add(0, 0x8000'0000, true));
  EXPECT_FALSE(builder.add(0, 0x8000'0000, true));
}

TEST_P(VirtqueueTest, RefusesRingsOutsideOfMemory) {
  auto const good = queue.state();
  for (auto const address : {u64{1} << 40, ~u64{0} - 15, rom, 2 * border, rom + 2 * page_size}) {
    queue.state() = good;
    queue.state().descriptors = address & ~u64{15};
    EXPECT_FALSE(queue.map({.packed = GetParam()})) << address;
    queue.state() = good;
    queue.state().device = address & ~u64{3};
    EXPECT_FALSE(queue.map({.packed = GetParam()})) << address;
  }
  queue.state() = good;
  queue.state().descriptors = border - 16;  // in two regions
  EXPECT_FALSE(queue.map({.packed = GetParam()}));
  queue.state() = good;
  queue.state().driver = area + 1;
  EXPECT_FALSE(queue.map({.packed = GetParam()}));
}

// A guest's vCPU on another thread: every chain arrives whole and exactly once.
TEST_P(VirtqueueTest, MovesChainsBetweenThreads) {
  constexpr auto chains = u32{2000};
  auto device = std::thread{[&] {
    for (auto seen = u32{0}; seen < chains;) {
      auto const chain = queue.pop().value();
      if (!chain) {
        std::this_thread::yield();
        continue;
      }
      auto value = u32{};
      gather(chain->readable, 0, std::as_writable_bytes(std::span{&value, 1}));
      value = ~value;
      scatter(chain->writable, 0, std::as_bytes(std::span{&value, 1}));
      queue.push(*chain, 4);
      ++seen;
    }
  }};
  for (auto i = u32{0}; i < chains; ++i) {
    memory.write_as(Gpa{data}, i).value();
    driver->add({readable(data, 4), writable(data + 64, 4)});
    while (!driver->poll()) std::this_thread::yield();
    ASSERT_EQ(memory.read_as<u32>(Gpa{data + 64}).value(), ~i);
  }
  device.join();
}

TEST(SplitRing, RefusesAnIndexThatJumps) {
  auto memory = memory::GuestMemory{};
  memory.add({Gpa{0}, MiB}, memory::RegionKind::ram).value();
  auto queue = Virtqueue{memory, 8};
  queue.state().driver = 0x1000;
  queue.state().device = 0x2000;
  queue.map({}).value();
  memory.write_as<u16>(Gpa{0x1002}, 9).value();
  EXPECT_FALSE(queue.pop());
}

TEST(SplitRing, RefusesMoreChainsInFlightThanEntries) {
  auto memory = memory::GuestMemory{};
  memory.add({Gpa{0}, MiB}, memory::RegionKind::ram).value();
  auto queue = Virtqueue{memory, 8};
  queue.state().driver = 0x1000;
  queue.state().device = 0x2000;
  queue.map({}).value();
  memory.write_as(Gpa{0}, SplitDescriptor{0x4000, 16, 0, 0}).value();
  memory.write_as<u16>(Gpa{0x1002}, 8).value();  // the same head eight times
  for (auto i = 0; i < 8; ++i) EXPECT_TRUE(queue.pop()->has_value());
  memory.write_as<u16>(Gpa{0x1002}, 16).value();
  EXPECT_FALSE(queue.pop());
}

TEST(SplitRing, RefusesHeadsAndLinksPastTheTable) {
  auto memory = memory::GuestMemory{};
  memory.add({Gpa{0}, MiB}, memory::RegionKind::ram).value();
  for (auto const head : {u16{8}, u16{0}}) {
    auto queue = Virtqueue{memory, 8};
    queue.state().driver = 0x1000;
    queue.state().device = 0x2000;
    queue.map({}).value();
    memory.write_as(Gpa{0}, SplitDescriptor{0x4000, 16, VIRTQ_DESC_F_NEXT, 0x7fff}).value();
    memory.write_as<u16>(Gpa{0x1004}, head).value();
    memory.write_as<u16>(Gpa{0x1002}, 1).value();
    EXPECT_FALSE(queue.pop());
  }
}

TEST(SplitRing, InterruptsWhenTheEventIndexIsPassed) {
  auto memory = memory::GuestMemory{};
  memory.add({Gpa{0}, MiB}, memory::RegionKind::ram).value();
  auto queue = Virtqueue{memory, 8};
  queue.state().descriptors = area;
  queue.state().driver = area + DriverQueue::driver_offset;
  queue.state().device = area + DriverQueue::device_offset;
  queue.map({.event_index = true}).value();
  auto const driver = DriverQueue::make(false, memory, 8, area);
  auto const complete_one = [&] {
    driver->add({{Gpa{data}, 1, false}});
    queue.push(queue.pop().value().value(), 0);
    driver->poll();
    return queue.should_notify();
  };
  EXPECT_TRUE(complete_one()) << "the first time there is nothing to compare with";
  memory.write_as<u16>(Gpa{area + DriverQueue::driver_offset + 4 + 16}, 2).value();  // used_event
  EXPECT_FALSE(complete_one());
  EXPECT_TRUE(complete_one());
  EXPECT_FALSE(complete_one());
}

TEST(PackedRing, InterruptsWhenTheEventSlotIsPassedAcrossTheWrap) {
  auto memory = memory::GuestMemory{};
  memory.add({Gpa{0}, MiB}, memory::RegionKind::ram).value();
  auto queue = Virtqueue{memory, 3};
  queue.state().descriptors = area;
  queue.state().driver = area + DriverQueue::driver_offset;
  queue.state().device = area + DriverQueue::device_offset;
  queue.map({.packed = true, .event_index = true}).value();
  auto const driver = DriverQueue::make(true, memory, 3, area);
  auto const complete_one = [&] {
    driver->add({{Gpa{data}, 1, false}});
    queue.push(queue.pop().value().value(), 0);
    driver->poll();
    return queue.should_notify();
  };
  auto const want = [&](u16 slot, u16 wrap) {
    auto const event = EventSuppression{static_cast<u16>(slot | wrap << 15), RING_EVENT_FLAGS_DESC};
    memory.write_as(Gpa{area + DriverQueue::driver_offset}, event).value();
  };
  EXPECT_TRUE(complete_one());  // slot 0
  want(0, 0);                   // slot 0 of the next lap
  EXPECT_FALSE(complete_one());
  EXPECT_FALSE(complete_one());
  EXPECT_TRUE(complete_one());
  want(2, 0);
  EXPECT_FALSE(complete_one());
  EXPECT_TRUE(complete_one());
}

TEST(Queue, RefusesImplausibleState) {
  auto const good = QueueState{.size = 8};
  EXPECT_TRUE(plausible(good, 8, true));
  EXPECT_FALSE(plausible(good, 7, false));
  auto state = good;
  state.next_used = 8;
  EXPECT_FALSE(plausible(state, 8, true));
  state = good;
  state.available_wrap = 2;
  EXPECT_FALSE(plausible(state, 8, true));
}

}  // namespace
}  // namespace vireo::device::virtio
