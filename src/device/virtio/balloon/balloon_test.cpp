#include "device/virtio/balloon/balloon.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "bus/device_contract.h"
#include "device/virtio/testing/test_machine.h"

namespace vireo::device::virtio {
namespace {

using namespace testing;
using namespace spec;

constexpr u64 statistics_feature{u64{1} << VIRTIO_BALLOON_F_STATS_VQ};
constexpr u64 poison_feature{u64{1} << VIRTIO_BALLOON_F_PAGE_POISON};
constexpr u64 reporting_feature{u64{1} << VIRTIO_BALLOON_F_PAGE_REPORTING};
constexpr u64 victims{32 * MiB};

/// The balloon needs the memory before the machine around it exists.
std::unique_ptr<TestMachine> make_machine() {
  return std::make_unique<TestMachine>(
      [](memory::GuestMemory& memory) { return std::make_unique<Balloon>(memory); });
}

class BalloonTest : public ::testing::TestWithParam<bool> {
 protected:
  void bring_up(u64 features) { machine->bring_up(features | (GetParam() ? ring_packed : 0)); }
  static Gpa at(u64 offset) { return Gpa{TestMachine::buffers + offset}; }
  u64 host_bytes() const {
    struct stat status{};
    ::fstat(machine->memory.blocks().front().fd, &status);
    return static_cast<u64>(status.st_blocks) * 512;
  }
  void touch(u64 address, u64 bytes) {
    machine->memory.write(Gpa{address}, std::vector<std::byte>(bytes, std::byte{7})).value();
  }

  std::unique_ptr<TestMachine> machine = make_machine();
  Balloon& balloon = dynamic_cast<Balloon&>(machine->device.function());
};
INSTANTIATE_TEST_SUITE_P(Rings, BalloonTest, ::testing::Bool(),
                         [](auto const& ring) { return ring.param ? "Packed" : "Split"; });

TEST_P(BalloonTest, InflatingGivesPagesBackToTheHost) {
  bring_up(event_index);
  touch(victims, 4 * MiB);
  auto pages = std::vector<u32>{};
  for (auto i = u32{0}; i < 1024; ++i) pages.push_back(static_cast<u32>(victims / page_size) + 1023 - i);
  machine->queues[0]->add({{machine->put(0, std::as_bytes(std::span{pages})), 4096, false}});
  auto const before = host_bytes();
  machine->kick(0);
  EXPECT_TRUE(machine->queues[0]->poll().has_value());
  EXPECT_LE(host_bytes() + 4 * MiB, before);
  EXPECT_EQ(balloon.returned_bytes(), 4 * MiB);
  EXPECT_EQ(machine->memory.read_as<u8>(Gpa{victims}).value(), 0);
}

TEST_P(BalloonTest, IgnoresPagesOutsideOfMemory) {
  bring_up(0);
  auto const pages = std::array<u32, 3>{0xffffffff, TestMachine::ram_bytes / page_size, 0x80000000};
  machine->queues[0]->add({{machine->put(0, std::as_bytes(std::span{pages})), 12, false}});
  machine->kick(0);
  EXPECT_TRUE(machine->queues[0]->poll().has_value());
  EXPECT_EQ(balloon.returned_bytes(), 0U);
}

TEST_P(BalloonTest, ReportedPagesGoBackToTheHost) {
  bring_up(reporting_feature | statistics_feature);
  touch(victims, 2 * MiB);
  machine->queues[3]->add({{Gpa{victims + 100}, 2 * MiB - 100, true}});
  machine->kick(3);
  EXPECT_TRUE(machine->queues[3]->poll().has_value());
  EXPECT_EQ(balloon.returned_bytes(), 2 * MiB - page_size);
  EXPECT_EQ(machine->memory.read_as<u8>(Gpa{victims}).value(), 7);
}

TEST_P(BalloonTest, KeepsReportedPagesThatArePoisoned) {
  bring_up(reporting_feature | poison_feature);
  machine->device.write_bar(0, 0x2000 + 12, 4, 0xaaaaaaaa);
  touch(victims, page_size);
  machine->queues[2]->add({{Gpa{victims}, page_size, true}});
  machine->kick(2);
  EXPECT_EQ(balloon.returned_bytes(), 0U);
  EXPECT_EQ(machine->memory.read_as<u8>(Gpa{victims}).value(), 7);
}

TEST_P(BalloonTest, TellsTheDriverOfANewTarget) {
  bring_up(0);
  balloon.set_target(64 * MiB);
  EXPECT_EQ(machine->device_config<u32>(0), 64 * MiB / page_size);
  EXPECT_EQ(machine->interrupts(0), 1U);
  machine->device.write_bar(0, 0x2000 + 4, 4, 5);
  EXPECT_EQ(balloon.given_bytes(), 5 * page_size);
}

TEST_P(BalloonTest, ReadsStatisticsAndKeepsTheBufferUntilAsked) {
  bring_up(statistics_feature);
  auto entry = std::array<std::byte, balloon_statistic_bytes>{};
  store_le<u16>(&entry[0], VIRTIO_BALLOON_S_MEMFREE);
  store_le<u64>(&entry[2], 12345);
  machine->queues[2]->add({{machine->put(0, entry), balloon_statistic_bytes, false}});
  machine->kick(2);
  EXPECT_EQ(balloon.statistics()[VIRTIO_BALLOON_S_MEMFREE], 12345U);
  EXPECT_FALSE(machine->queues[2]->poll().has_value());
  balloon.request_statistics();
  EXPECT_TRUE(machine->queues[2]->poll().has_value());
  EXPECT_EQ(machine->interrupts(3), 1U);
}

TEST_P(BalloonTest, StillOwnsTheStatisticsBufferAfterARestore) {
  bring_up(statistics_feature);
  machine->queues[2]->add({{machine->put(0, std::string(10, '\0')), 10, false}});
  machine->kick(2);
  machine->device.stop();
  auto const saved = machine->device.save();
  ASSERT_TRUE(machine->device.restore(saved));
  machine->device.start();
  balloon.request_statistics();
  EXPECT_TRUE(machine->queues[2]->poll().has_value());
}

TEST(Balloon, KeepsTheDeviceContract) {
  auto executor = WaitingExecutor{};
  auto memory = memory::GuestMemory{};
  ASSERT_TRUE(memory.add({Gpa{0}, 1 * MiB}, memory::RegionKind::ram));
  bus::contract::expect_device_contract(
      [&] { return std::make_unique<VirtioPci>(executor, memory, std::make_unique<Balloon>(memory)); },
      [](VirtioPci& device) { disturb(device); });
}

}  // namespace
}  // namespace vireo::device::virtio
