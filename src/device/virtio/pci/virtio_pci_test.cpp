#include "device/virtio/pci/virtio_pci.h"

#include <gtest/gtest.h>

#include "bus/device_contract.h"
#include "device/virtio/pci/spec.h"
#include "device/virtio/rng/rng.h"
#include "device/virtio/testing/test_machine.h"

namespace vireo::device::virtio {
namespace {

using namespace testing;
using namespace spec;

class VirtioPciTest : public ::testing::Test {
 protected:
  /// Offset of the capability of `type` in configuration space.
  u8 capability(u8 type) {
    auto& config = machine.device.config();
    auto offset = static_cast<u8>(config.read(0x34, 1));
    while (offset != 0 && !(config.read(offset, 1) == PCI_CAP_ID_VNDR && config.read(offset + 3U, 1) == type)) {
      offset = static_cast<u8>(config.read(offset + 1U, 1));
    }
    return offset;
  }
  void write_config(u16 offset, u8 width, u32 value) {
    machine.device.config().write(offset, width, value);
    machine.device.config_written(offset, width);
  }
  u32 read_config(u16 offset, u8 width) {
    machine.device.config_reading(offset, width);
    return machine.device.config().read(offset, width);
  }
  void negotiate(u64 features) {
    machine.set_status(ACKNOWLEDGE | DRIVER);
    machine.set_driver_features(features);
    machine.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
  }

  TestMachine machine{std::make_unique<Rng>()};
};

TEST_F(VirtioPciTest, IsAModernDeviceWithAllItsCapabilities) {
  EXPECT_EQ(machine.device.config().read(0, 4), 0x1044'1af4U);
  EXPECT_EQ(machine.device.config().read(8, 1), 1U);
  for (auto type = u8{1}; type <= 5; ++type) EXPECT_NE(capability(type), 0) << type;
  auto const notify = capability(VIRTIO_PCI_CAP_NOTIFY_CFG);
  EXPECT_EQ(machine.device.config().read(notify + 8U, 4), 0x3000U);
  EXPECT_EQ(machine.device.config().read(notify + 16U, 4), 4U);
}

TEST_F(VirtioPciTest, OffersRingFeaturesButNoPlatformAccess) {
  auto const features = machine.device_features();
  for (auto const bit : {28, 29, 32, 34, 40}) EXPECT_TRUE(features >> bit & 1) << bit;
  EXPECT_FALSE(features >> VIRTIO_F_ACCESS_PLATFORM & 1);
  machine.set_common(device_feature_select, 4, 2);
  EXPECT_EQ(machine.common(device_feature, 4), 0U);
}

TEST_F(VirtioPciTest, RefusesFeaturesItDidNotOfferAndLegacyDrivers) {
  negotiate(version_1 | u64{1} << 50);
  EXPECT_EQ(machine.status() & FEATURES_OK, 0);
  machine.set_status(0);
  negotiate(0);
  EXPECT_EQ(machine.status() & FEATURES_OK, 0);
  machine.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  EXPECT_EQ(machine.status() & DRIVER_OK, 0);
}

TEST_F(VirtioPciTest, KeepsFeaturesOnceTheyAreSettled) {
  negotiate(version_1 | event_index);
  machine.set_driver_features(version_1);
  machine.set_common(driver_feature_select, 4, 0);
  EXPECT_EQ(machine.common(driver_feature, 4), event_index);
}

TEST_F(VirtioPciTest, AResetForgetsTheDriver) {
  machine.bring_up(event_index);
  machine.set_status(0);
  EXPECT_EQ(machine.status(), 0);
  machine.set_common(queue_select, 2, 0);
  EXPECT_EQ(machine.common(queue_enable, 2), 0U);
  EXPECT_EQ(machine.common(queue_size, 2), 16U);
  EXPECT_EQ(machine.common(queue_msix_vector, 2), VIRTIO_MSI_NO_VECTOR);
  machine.kick(0);
}

TEST_F(VirtioPciTest, QueueRegistersKeepTheirValuesWhileEnabled) {
  machine.bring_up(0, 8);
  machine.set_common(queue_select, 2, 0);
  auto const descriptors = machine.common(queue_desc, 8);
  machine.set_common(queue_desc, 8, 0x1234000);
  machine.set_common(queue_size, 2, 4);
  EXPECT_EQ(machine.common(queue_desc, 8), descriptors);
  EXPECT_EQ(machine.common(queue_size, 2), 8U);
}

TEST_F(VirtioPciTest, RefusesVectorsAndQueuesThatAreNotThere) {
  machine.set_common(config_msix_vector, 2, 7);
  EXPECT_EQ(machine.common(config_msix_vector, 2), VIRTIO_MSI_NO_VECTOR);
  machine.set_common(queue_select, 2, 9);
  machine.set_common(queue_enable, 2, 1);
  EXPECT_EQ(machine.common(queue_size, 2), 0U);
  EXPECT_EQ(machine.common(queue_enable, 2), 0U);
}

TEST_F(VirtioPciTest, AQueueOutsideOfMemoryNeedsAReset) {
  negotiate(version_1);
  machine.set_common(queue_select, 2, 0);
  machine.set_common(queue_desc, 8, ~u64{0});
  machine.set_common(queue_enable, 2, 1);
  machine.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  EXPECT_NE(machine.status() & DEVICE_NEEDS_RESET, 0);
  machine.kick(0);
}

TEST_F(VirtioPciTest, ResetsOneQueueAndTakesItUpAgain) {
  machine.bring_up(u64{1} << VIRTIO_F_RING_RESET);
  machine.set_common(queue_select, 2, 0);
  machine.set_common(queue_reset, 2, 1);
  EXPECT_EQ(machine.common(queue_reset, 2), 0U);
  EXPECT_EQ(machine.common(queue_enable, 2), 0U);
  auto const area = u64{8 * MiB};
  auto const driver = DriverQueue::make(false, machine.memory, 16, area);
  machine.set_common(queue_desc, 8, area);
  machine.set_common(queue_driver, 8, area + DriverQueue::driver_offset);
  machine.set_common(queue_device, 8, area + DriverQueue::device_offset);
  machine.set_common(queue_enable, 2, 1);
  driver->add({{Gpa{TestMachine::buffers}, 8, true}});
  machine.kick(0);
  EXPECT_EQ(driver->poll()->length, 8U);
}

TEST_F(VirtioPciTest, RaisesTheInterruptLineWithoutMsixUntilTheStatusIsRead) {
  machine.bring_up(0);
  write_config(capability(VIRTIO_PCI_CAP_COMMON_CFG), 1, 0);
  auto offset = static_cast<u8>(machine.device.config().read(0x34, 1));
  while (machine.device.config().read(offset, 1) != 0x11) {
    offset = static_cast<u8>(machine.device.config().read(offset + 1U, 1));
  }
  write_config(offset + 2U, 2, 0);
  machine.queues[0]->add({{Gpa{TestMachine::buffers}, 8, true}});
  machine.kick(0);
  EXPECT_TRUE(machine.intx);
  write_config(4, 2, 0x400);  // interrupt disable
  EXPECT_FALSE(machine.intx);
  write_config(4, 2, 0);
  EXPECT_TRUE(machine.intx);
  EXPECT_EQ(machine.device.read_bar(0, 0x1000, 1), ISR_QUEUE);
  EXPECT_FALSE(machine.intx);
  EXPECT_EQ(machine.device.read_bar(0, 0x1000, 1), 0U);
}

TEST_F(VirtioPciTest, ReachesItsRegistersThroughConfigurationSpace) {
  auto const window = capability(VIRTIO_PCI_CAP_PCI_CFG);
  write_config(window + 4U, 1, 0);
  write_config(window + 8U, 4, device_status);
  write_config(window + 12U, 4, 1);
  write_config(window + 16U, 4, ACKNOWLEDGE);
  EXPECT_EQ(machine.status(), ACKNOWLEDGE);
  machine.set_status(ACKNOWLEDGE | DRIVER);
  EXPECT_EQ(read_config(window + 16U, 1), ACKNOWLEDGE | DRIVER);
  write_config(window + 8U, 4, 0xffff'ffff);
  EXPECT_EQ(read_config(window + 16U, 1), 0U);
}

TEST_F(VirtioPciTest, RefusesForgedState) {
  auto& device = machine.device;
  device.stop();
  bus::contract::expect_refused<u8>(device, 6, DRIVER_OK);
  auto const forge = [&](QueueState queue) {
    auto const bytes = std::as_bytes(std::span{&queue, 1});
    bus::contract::expect_refused(device, 9, std::vector<std::byte>{bytes.begin(), bytes.end()});
  };
  forge({.size = 0});
  forge({.size = 17});
  forge({.size = 16, .enabled = 2});
}

}  // namespace
}  // namespace vireo::device::virtio
