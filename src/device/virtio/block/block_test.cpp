#include "device/virtio/block/block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "bus/device_contract.h"
#include "device/chipset/line_probe.h"
#include "device/virtio/pci/spec.h"
#include "device/virtio/testing/test_machine.h"

namespace vireo::device::virtio {
namespace {

using namespace testing;
using namespace spec;
using ::testing::ElementsAre;

/// A disk in memory that a test can look into.
class MemoryImage final : public image::BlockImage {
 public:
  explicit MemoryImage(u64 size, bool read_only = false) : bytes(size), read_only_{read_only} {}
  Geometry geometry() const override { return {.bytes = bytes.size(), .read_only = read_only_}; }
  Result<> read(u64 at, Bytes into) override {
    if (broken) return fail(Errc::io, "the disk is broken");
    std::copy_n(bytes.begin() + static_cast<i64>(at), into.size(), into.begin());
    return {};
  }
  Result<> write(u64 at, ConstBytes from) override {
    if (broken) return fail(Errc::no_space, "the disk is full");
    std::copy(from.begin(), from.end(), bytes.begin() + static_cast<i64>(at));
    return {};
  }
  Result<> write_zeroes(u64 at, u64 length, bool) override {
    std::fill_n(bytes.begin() + static_cast<i64>(at), length, std::byte{0});
    return {};
  }
  Result<> discard(u64, u64 length) override {
    discarded += length;
    return {};
  }
  Result<> flush() override {
    ++flushes;
    return {};
  }
  Result<Extent> extent_at(u64 at) override { return Extent{at, bytes.size() - at, Presence::data}; }

  std::vector<std::byte> bytes;
  std::atomic<u32> flushes{0};
  std::atomic<u64> discarded{0};
  std::atomic<bool> broken{false};

 private:
  bool read_only_;
};

constexpr u64 flush_feature{u64{1} << VIRTIO_BLK_F_FLUSH};
constexpr u64 status_at{0x1000};
constexpr u64 data_at{0x2000};

/// Every case runs on split and packed rings.
class BlockTest : public ::testing::TestWithParam<bool> {
 protected:
  void bring_up(u64 features = flush_feature | indirect | event_index) {
    machine.bring_up(features | (GetParam() ? ring_packed : 0));
  }
  Gpa header(u32 type, u64 sector) {
    auto const header = BlockRequestHeader{type, 0, sector};
    machine.put(status_at, std::string_view{"\x55", 1});
    return machine.put(0, std::as_bytes(std::span{&header, 1}));
  }
  u8 finish() {
    machine.kick(0);
    used = machine.wait_used(0);
    return static_cast<u8>(machine.text(status_at, 1)[0]);
  }
  u8 request(u32 type, u64 sector, Buffer data) {
    machine.queues[0]->add({{header(type, sector), 16, false}, data, {at(status_at), 1, true}});
    return finish();
  }
  u8 request(u32 type, u64 sector) {
    machine.queues[0]->add({{header(type, sector), 16, false}, {at(status_at), 1, true}});
    return finish();
  }
  static Gpa at(u64 offset) { return Gpa{TestMachine::buffers + offset}; }

  void start_write(u64 sector) {
    machine.queues[0]->add(
        {{header(VIRTIO_BLK_T_OUT, sector), 16, false}, {at(data_at), 512, false}, {at(status_at), 1, true}});
    machine.kick(0);
  }

  std::shared_ptr<MemoryImage> disk = std::make_shared<MemoryImage>(1 * MiB);
  ControlProbe control;
  std::shared_ptr<DiskErrors> errors = std::make_shared<DiskErrors>("disk0", ErrorPolicy::report, control);
  TestMachine machine{std::make_unique<Block>(disk, BlockOptions{.serial = "vireo-0001", .errors = errors})};
  Used used{};
};
INSTANTIATE_TEST_SUITE_P(Rings, BlockTest, ::testing::Bool(),
                         [](auto const& ring) { return ring.param ? "Packed" : "Split"; });

TEST_P(BlockTest, ReadsSectorsIntoGuestMemory) {
  disk->bytes[3 * 512] = std::byte{'v'};
  bring_up();
  EXPECT_EQ(request(VIRTIO_BLK_T_IN, 3, {at(data_at), 512, true}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(machine.text(data_at, 1), "v");
  EXPECT_EQ(used.length, 513U);
  EXPECT_EQ(machine.interrupts(1), 1U);
}

TEST_P(BlockTest, WritesSectorsFromGuestMemory) {
  bring_up();
  machine.put(data_at, std::string(1024, 'w'));
  EXPECT_EQ(request(VIRTIO_BLK_T_OUT, 5, {at(data_at), 1024, false}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(disk->bytes[5 * 512 + 1023], std::byte{'w'});
  EXPECT_EQ(disk->flushes, 0U);
}

TEST_P(BlockTest, FlushesEachWriteForADriverWithoutFlush) {
  bring_up(0);
  EXPECT_EQ(request(VIRTIO_BLK_T_OUT, 0, {at(data_at), 512, false}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(disk->flushes, 1U);
}

TEST_P(BlockTest, TakesRequestsFromAnIndirectTableInOddPieces) {
  bring_up();
  machine.put(data_at, std::string(512, 'i'));
  machine.queues[0]->add({{header(VIRTIO_BLK_T_OUT, 1), 7, false},
                          {at(7), 9, false},
                          {at(data_at), 100, false},
                          {at(data_at + 100), 412, false},
                          {at(status_at), 1, true}},
                         TestMachine::buffers + 0x8000);
  EXPECT_EQ(finish(), VIRTIO_BLK_S_OK);
  EXPECT_EQ(disk->bytes[512 + 511], std::byte{'i'});
}

TEST_P(BlockTest, FlushReachesTheImage) {
  bring_up();
  EXPECT_EQ(request(VIRTIO_BLK_T_FLUSH, 0), VIRTIO_BLK_S_OK);
  EXPECT_EQ(disk->flushes, 1U);
}

TEST_P(BlockTest, AnswersItsSerialNumber) {
  bring_up();
  EXPECT_EQ(request(VIRTIO_BLK_T_GET_ID, 0, {at(data_at), 20, true}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(machine.text(data_at, 11), std::string("vireo-0001\0", 11));
}

TEST_P(BlockTest, DiscardsAndWritesZeroes) {
  std::ranges::fill(disk->bytes, std::byte{1});
  bring_up();
  auto const ranges = std::array{BlockRange{2, 4, 0}, BlockRange{8, 1, 0}};
  machine.put(data_at, std::as_bytes(std::span{ranges}));
  EXPECT_EQ(request(VIRTIO_BLK_T_DISCARD, 0, {at(data_at), 32, false}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(disk->discarded, 5 * 512U);
  EXPECT_EQ(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, {at(data_at), 32, false}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(disk->bytes[2 * 512], std::byte{0});
  EXPECT_EQ(disk->bytes[6 * 512], std::byte{1});
}

TEST_P(BlockTest, RefusesWhatLiesOutsideOfTheDisk) {
  bring_up();
  EXPECT_EQ(request(VIRTIO_BLK_T_IN, 2048, {at(data_at), 512, true}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(request(VIRTIO_BLK_T_IN, ~u64{0}, {at(data_at), 512, true}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(request(VIRTIO_BLK_T_OUT, 2047, {at(data_at), 1024, false}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(request(VIRTIO_BLK_T_OUT, 0, {at(data_at), 100, false}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(request(VIRTIO_BLK_T_DISCARD, 0, {at(data_at), 17, false}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(request(99, 0), VIRTIO_BLK_S_UNSUPP);
}

TEST_P(BlockTest, ReportsAnErrorOfTheImage) {
  disk->broken = true;
  bring_up();
  EXPECT_EQ(request(VIRTIO_BLK_T_IN, 0, {at(data_at), 512, true}), VIRTIO_BLK_S_IOERR);
}

TEST_P(BlockTest, NeedsAResetAfterARequestWithoutStatus) {
  bring_up();
  machine.queues[0]->add({{header(VIRTIO_BLK_T_IN, 0), 16, false}});
  machine.kick(0);
  EXPECT_NE(machine.status() & DEVICE_NEEDS_RESET, 0);
  EXPECT_EQ(machine.interrupts(0), 1U);
  bring_up();
  EXPECT_EQ(request(VIRTIO_BLK_T_FLUSH, 0), VIRTIO_BLK_S_OK);
}

TEST_P(BlockTest, FinishesWhatIsInFlightBeforeAReset) {
  bring_up();
  for (auto i = u64{0}; i < 5; ++i) {
    machine.queues[0]->add(
        {{header(VIRTIO_BLK_T_OUT, i), 16, false}, {at(data_at), 512, false}, {at(status_at), 1, true}});
  }
  machine.kick(0);
  machine.set_status(0);
  EXPECT_EQ(machine.status(), 0);
  machine.executor.run_waiting();
  bring_up();
  EXPECT_EQ(request(VIRTIO_BLK_T_FLUSH, 0), VIRTIO_BLK_S_OK);
}

TEST_P(BlockTest, GoesOnAfterSaveAndRestore) {
  bring_up();
  EXPECT_EQ(request(VIRTIO_BLK_T_FLUSH, 0), VIRTIO_BLK_S_OK);
  machine.queues[0]->add(
      {{header(VIRTIO_BLK_T_OUT, 1), 16, false}, {at(data_at), 512, false}, {at(status_at), 1, true}});
  machine.kick(0);
  machine.device.stop();
  EXPECT_TRUE(machine.queues[0]->poll().has_value());
  auto const saved = machine.device.save();
  machine.device.reset();
  ASSERT_TRUE(machine.device.restore(saved));
  machine.queues[0]->add({{header(VIRTIO_BLK_T_FLUSH, 0), 16, false}, {at(status_at), 1, true}});
  machine.device.start();
  machine.wait_used(0);
  EXPECT_EQ(machine.text(status_at, 1), std::string(1, '\0'));
  EXPECT_EQ(disk->flushes, 2U);
}

TEST_P(BlockTest, KeepsAFailedRequestUntilTheMachineGoesOn) {
  errors->set_policy(ErrorPolicy::pause);
  disk->broken = true;
  bring_up();
  machine.put(data_at, std::string(512, 'k'));
  start_write(3);
  machine.device.stop();
  EXPECT_EQ(machine.text(status_at, 1), "\x55");
  EXPECT_THAT(control.pauses, ElementsAre("disk0: write: the disk is full"));

  disk->broken = false;
  machine.device.start();
  machine.wait_used(0);
  EXPECT_EQ(machine.text(status_at, 1)[0], VIRTIO_BLK_S_OK);
  EXPECT_EQ(disk->bytes[3 * 512 + 511], std::byte{'k'});
  EXPECT_EQ(request(VIRTIO_BLK_T_FLUSH, 0), VIRTIO_BLK_S_OK);
}

TEST_P(BlockTest, KeptRequestsTravelWithTheSavedState) {
  errors->set_policy(ErrorPolicy::pause);
  disk->broken = true;
  bring_up();
  machine.put(data_at, std::string(512, 's'));
  start_write(4);
  machine.device.stop();
  auto const saved = machine.device.save();
  machine.device.reset();
  disk->broken = false;
  ASSERT_TRUE(machine.device.restore(saved));
  EXPECT_EQ(machine.device.save(), saved);
  machine.device.start();
  machine.wait_used(0);
  EXPECT_EQ(machine.text(status_at, 1)[0], VIRTIO_BLK_S_OK);
  EXPECT_EQ(disk->bytes[4 * 512], std::byte{'s'});
}

TEST_P(BlockTest, AResetForgetsKeptRequests) {
  errors->set_policy(ErrorPolicy::pause);
  disk->broken = true;
  bring_up();
  start_write(4);
  machine.device.stop();
  machine.device.start();
  machine.set_status(0);
  disk->broken = false;
  bring_up();
  EXPECT_EQ(request(VIRTIO_BLK_T_FLUSH, 0), VIRTIO_BLK_S_OK);
  EXPECT_EQ(disk->bytes[4 * 512], std::byte{0});
}

TEST_P(BlockTest, EndsTheMachineWhereErrorsShallStopIt) {
  errors->set_policy(ErrorPolicy::stop);
  disk->broken = true;
  bring_up();
  start_write(0);
  machine.device.stop();
  EXPECT_THAT(control.failures, ElementsAre("disk0: write: the disk is full"));
  EXPECT_EQ(machine.text(status_at, 1), "\x55");
}

TEST(Block, RefusesWritesToAReadOnlyImage) {
  auto const disk = std::make_shared<MemoryImage>(64 * KiB, true);
  auto machine = TestMachine{std::make_unique<Block>(disk, BlockOptions{})};
  machine.bring_up(0);
  auto const header = BlockRequestHeader{VIRTIO_BLK_T_OUT, 0, 0};
  machine.put(0, std::as_bytes(std::span{&header, 1}));
  machine.queues[0]->add({{Gpa{TestMachine::buffers}, 16, false},
                          {Gpa{TestMachine::buffers + data_at}, 512, false},
                          {Gpa{TestMachine::buffers + status_at}, 1, true}});
  machine.kick(0);
  machine.wait_used(0);
  EXPECT_EQ(machine.text(status_at, 1)[0], VIRTIO_BLK_S_IOERR);
  EXPECT_NE(machine.device_features() & 1U << VIRTIO_BLK_F_RO, 0U);
}

TEST(Block, ShowsCapacityAndQueuesInItsConfiguration) {
  auto const disk = std::make_shared<MemoryImage>(1 * MiB);
  auto machine = TestMachine{std::make_unique<Block>(disk, BlockOptions{.queues = 3})};
  EXPECT_EQ(machine.device_config<u64>(0), 2048U);
  EXPECT_EQ(machine.device_config<u32>(20), 512U);
  EXPECT_EQ(machine.device_config<u16>(34), 3U);
  EXPECT_EQ(machine.common(CommonConfig::num_queues, 2), 3U);
  EXPECT_EQ(machine.device_config<u64>(0xff8), 0U);
}

TEST(Block, KeepsTheDeviceContract) {
  auto executor = WaitingExecutor{};
  auto memory = memory::GuestMemory{};
  ASSERT_TRUE(memory.add({Gpa{0}, 1 * MiB}, memory::RegionKind::ram));
  auto const disk = std::make_shared<MemoryImage>(1 * MiB);
  bus::contract::expect_device_contract(
      [&] {
        return std::make_unique<VirtioPci>(executor, memory, std::make_unique<Block>(disk, BlockOptions{}));
      },
      [](VirtioPci& device) { disturb(device); });
}

}  // namespace
}  // namespace vireo::device::virtio
