#include "device/virtio/console/console.h"

#include <gtest/gtest.h>

#include "bus/device_contract.h"
#include "device/virtio/testing/test_machine.h"

namespace vireo::device::virtio {
namespace {

using namespace testing;

class Terminal final : public SerialBackend {
 public:
  void transmit(ConstBytes bytes) override {
    for (auto const byte : bytes) seen.push_back(static_cast<char>(byte));
  }
  void receive_ready() override { ++ready; }
  std::string seen;
  int ready{0};
};

class ConsoleTest : public ::testing::TestWithParam<bool> {
 protected:
  ConsoleTest() { console.connect(&terminal); }
  void bring_up() { machine.bring_up(7 | (GetParam() ? ring_packed : 0)); }
  u32 type(std::string_view text) { return console.receive(std::as_bytes(std::span{text})); }
  static Gpa at(u64 offset) { return Gpa{TestMachine::buffers + offset}; }

  Terminal terminal;
  TestMachine machine{std::make_unique<Console>()};
  Console& console = dynamic_cast<Console&>(machine.device.function());
};
INSTANTIATE_TEST_SUITE_P(Rings, ConsoleTest, ::testing::Bool(),
                         [](auto const& ring) { return ring.param ? "Packed" : "Split"; });

TEST_P(ConsoleTest, PassesOutputToTheBackend) {
  bring_up();
  machine.queues[1]->add({{machine.put(0, "hello "), 6, false}, {machine.put(0x100, "world"), 5, false}});
  machine.kick(1);
  EXPECT_EQ(terminal.seen, "hello world");
  EXPECT_TRUE(machine.queues[1]->poll().has_value());
}

TEST_P(ConsoleTest, PutsInputIntoTheDriversBuffers) {
  bring_up();
  machine.queues[0]->add({{at(0), 4, true}});
  machine.queues[0]->add({{at(0x100), 16, true}});
  EXPECT_EQ(type("abcdef"), 6U);
  EXPECT_EQ(machine.queues[0]->poll()->length, 4U);
  EXPECT_EQ(machine.queues[0]->poll()->length, 2U);
  EXPECT_EQ(machine.text(0x100, 2), "ef");
  EXPECT_EQ(machine.interrupts(1), 1U);
}

TEST_P(ConsoleTest, TellsTheBackendOfNewRoom) {
  EXPECT_EQ(type("x"), 0U);
  bring_up();
  EXPECT_EQ(terminal.ready, 1);
  EXPECT_EQ(type("abc"), 0U);
  machine.queues[0]->add({{at(0), 2, true}});
  machine.kick(0);
  EXPECT_EQ(terminal.ready, 2);
  EXPECT_EQ(type("abc"), 2U);
}

TEST_P(ConsoleTest, ShowsANewSizeAndInterrupts) {
  bring_up();
  console.resize(132, 43);
  EXPECT_EQ(machine.device_config<u16>(0), 132);
  EXPECT_EQ(machine.device_config<u16>(2), 43);
  EXPECT_EQ(machine.interrupts(0), 1U);
}

TEST_P(ConsoleTest, WritesInAnEmergencyWithoutQueues) {
  machine.device.write_bar(0, 0x2008, 4, '!');
  EXPECT_EQ(terminal.seen, "!");
}

TEST(Console, KeepsTheDeviceContract) {
  auto executor = WaitingExecutor{};
  auto memory = memory::GuestMemory{};
  ASSERT_TRUE(memory.add({Gpa{0}, 1 * MiB}, memory::RegionKind::ram));
  bus::contract::expect_device_contract(
      [&] { return std::make_unique<VirtioPci>(executor, memory, std::make_unique<Console>()); },
      [](VirtioPci& device) { disturb(device); });
}

}  // namespace
}  // namespace vireo::device::virtio
