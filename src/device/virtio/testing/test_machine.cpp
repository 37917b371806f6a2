#include "device/virtio/testing/test_machine.h"

#include "device/virtio/pci/spec.h"

namespace vireo::device::virtio::testing {

using namespace spec;

namespace {

constexpr u64 rings{1 * MiB};
constexpr u64 message_address{0xfee0'0000};

u8 find_capability(bus::PciConfigSpace const& config, u8 id) {
  auto offset = static_cast<u8>(config.read(0x34, 1));
  while (offset != 0 && config.read(offset, 1) != id) offset = static_cast<u8>(config.read(offset + 1U, 1));
  return offset;
}

}  // namespace

TestMachine::TestMachine(std::unique_ptr<VirtioDevice> function)
    : device{executor, memory, std::move(function)} {
  plug_in();
}

TestMachine::TestMachine(MakeFunction const& make) : device{executor, memory, make(memory)} { plug_in(); }

void TestMachine::plug_in() {
  memory.add({Gpa{0}, ram_bytes}, memory::RegionKind::ram).value();
  device.config().set_msi_sink(this);
  device.connect_intx(this);
  device.start();
}

u64 TestMachine::device_features() {
  set_common(device_feature_select, 4, 0);
  auto const low = common(device_feature, 4);
  set_common(device_feature_select, 4, 1);
  return low | common(device_feature, 4) << 32;
}

void TestMachine::set_driver_features(u64 features) {
  set_common(driver_feature_select, 4, 0);
  set_common(driver_feature, 4, features & 0xffff'ffff);
  set_common(driver_feature_select, 4, 1);
  set_common(driver_feature, 4, features >> 32);
}

void TestMachine::enable_msix() {
  auto const vectors = common(num_queues, 2) + 1;
  for (auto i = u64{0}; i < vectors; ++i) {
    device.write_bar(2, 16 * i, 8, message_address);
    device.write_bar(2, 16 * i + 8, 4, i);
    device.write_bar(2, 16 * i + 12, 4, 0);
  }
  auto const capability = find_capability(device.config(), 0x11);
  device.config().write(capability + 2U, 2, 0x8000);
  device.config_written(capability + 2U, 2);
  interrupts_.assign(vectors, 0);
}

void TestMachine::bring_up(u64 features, u16 size) {
  set_status(0);
  set_status(ACKNOWLEDGE);
  set_status(ACKNOWLEDGE | DRIVER);
  set_driver_features((features | version_1) & device_features());
  set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
  enable_msix();
  set_common(config_msix_vector, 2, 0);
  queues.clear();
  auto const count = static_cast<u16>(common(num_queues, 2));
  for (auto i = u16{0}; i < count; ++i) {
    auto const area = rings + i * DriverQueue::area_bytes;
    auto const zeroes = std::vector<std::byte>(DriverQueue::area_bytes);
    memory.write(Gpa{area}, zeroes).value();
    set_common(queue_select, 2, i);
    auto const entries = std::min(size, static_cast<u16>(common(queue_size, 2)));
    set_common(queue_size, 2, entries);
    set_common(queue_msix_vector, 2, i + 1U);
    set_common(queue_desc, 4, area);
    set_common(queue_driver, 4, area + DriverQueue::driver_offset);
    set_common(queue_device, 4, area + DriverQueue::device_offset);
    set_common(queue_enable, 2, 1);
    queues.push_back(DriverQueue::make((features & ring_packed) != 0, memory, entries, area));
  }
  set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

Gpa TestMachine::put(u64 offset, ConstBytes bytes) {
  memory.write(Gpa{buffers + offset}, bytes).value();
  return Gpa{buffers + offset};
}

std::string TestMachine::text(u64 offset, u64 length) {
  auto result = std::string(length, '\0');
  memory.read(Gpa{buffers + offset}, std::as_writable_bytes(std::span{result})).value();
  return result;
}

Used TestMachine::wait_used(u16 index) {
  auto used = std::optional<Used>{};
  executor.run_until([&] { return (used = queues.at(index)->poll()).has_value(); });
  return *used;
}

u32 TestMachine::interrupts(u16 vector) const { return interrupts_.at(vector); }

void TestMachine::signal(u64 address, u32 data) {
  if (address == message_address) ++interrupts_.at(data);
}

void disturb(VirtioPci& device) {
  auto const set = [&](u16 offset, u8 width, u64 value) { device.write_bar(0, offset, width, value); };
  set(device_status, 1, ACKNOWLEDGE | DRIVER);
  set(driver_feature_select, 4, 1);
  set(driver_feature, 4, version_1 >> 32);
  set(device_status, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK);
  set(queue_size, 2, 8);
  set(queue_desc, 4, 0x10000);
  set(queue_driver, 4, 0x11000);
  set(queue_device, 4, 0x12000);
  set(queue_enable, 2, 1);
  set(device_status, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

}  // namespace vireo::device::virtio::testing
