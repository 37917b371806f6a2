#include "device/virtio/rng/rng.h"

#include <gtest/gtest.h>

#include "bus/device_contract.h"
#include "device/virtio/pci/spec.h"
#include "device/virtio/testing/test_machine.h"

namespace vireo::device::virtio {
namespace {

using namespace testing;

constexpr Gpa at(u64 offset) { return Gpa{TestMachine::buffers + offset}; }

TEST(Rng, FillsTheBufferWithRandomBytes) {
  auto machine = TestMachine{std::make_unique<Rng>()};
  machine.bring_up(event_index);
  machine.queues[0]->add({{at(0), 64, true}, {at(0x1000), 64, true}});
  machine.kick(0);
  EXPECT_EQ(machine.wait_used(0).length, 128U);
  EXPECT_NE(machine.text(0, 64), std::string(64, '\0'));
  EXPECT_NE(machine.text(0, 64), machine.text(0x1000, 64));
  EXPECT_EQ(machine.interrupts(1), 1U);
}

TEST(Rng, GivesAPageAtMost) {
  auto machine = TestMachine{std::make_unique<Rng>()};
  machine.bring_up(ring_packed);
  machine.queues[0]->add({{at(0), 1 << 20, true}});
  machine.kick(0);
  EXPECT_EQ(machine.wait_used(0).length, Rng::most_bytes);
}

TEST(Rng, NeedsAResetAfterARequestWithoutRoom) {
  auto machine = TestMachine{std::make_unique<Rng>()};
  machine.bring_up(0);
  machine.queues[0]->add({{at(0), 64, false}});
  machine.kick(0);
  EXPECT_NE(machine.status() & spec::DEVICE_NEEDS_RESET, 0);
}

TEST(Rng, KeepsTheDeviceContract) {
  auto executor = WaitingExecutor{};
  auto memory = memory::GuestMemory{};
  ASSERT_TRUE(memory.add({Gpa{0}, 1 * MiB}, memory::RegionKind::ram));
  bus::contract::expect_device_contract(
      [&] { return std::make_unique<VirtioPci>(executor, memory, std::make_unique<Rng>()); },
      [](VirtioPci& device) { disturb(device); });
}

}  // namespace
}  // namespace vireo::device::virtio
