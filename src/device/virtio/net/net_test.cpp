#include "device/virtio/net/net.h"

#include <gtest/gtest.h>

#include "bus/device_contract.h"
#include "device/virtio/pci/spec.h"
#include "device/virtio/testing/test_machine.h"
#include "net/cable/cable.h"

namespace vireo::device::virtio {
namespace {

using namespace testing;
using namespace spec;

constexpr MacAddress mac{0x52, 0x54, 0, 0x12, 0x34, 0x56};
constexpr u64 mergeable{u64{1} << VIRTIO_NET_F_MRG_RXBUF};
constexpr u64 header_bytes{sizeof(NetHeader)};

/// Every case runs on split and packed rings.
class NetTest : public ::testing::TestWithParam<bool> {
 protected:
  NetTest()
      : cable{net::make_cable()}, machine{std::make_unique<Net>(std::move(cable.first), NetOptions{mac})} {
    cable.second->set_receiver([this](ConstBytes frame) {
      received.emplace_back(reinterpret_cast<char const*>(frame.data()),
                            frame.size());  // SOUND: bytes as characters
      return true;
    });
  }
  void bring_up(u64 features) { machine.bring_up(features | (GetParam() ? ring_packed : 0)); }
  static Gpa at(u64 offset) { return Gpa{TestMachine::buffers + offset}; }
  void arrive(std::string const& frame) { cable.second->send(std::as_bytes(std::span{frame})); }
  void offer(u64 offset, u32 length) {
    machine.queues[0]->add({{at(offset), length, true}});
    machine.kick(0);
  }

  std::pair<std::unique_ptr<net::Port>, std::unique_ptr<net::Port>> cable;
  TestMachine machine;
  std::vector<std::string> received;
};
INSTANTIATE_TEST_SUITE_P(Rings, NetTest, ::testing::Bool(),
                         [](auto const& ring) { return ring.param ? "Packed" : "Split"; });

TEST_P(NetTest, SendsFramesWithoutTheirHeader) {
  bring_up(event_index);
  machine.put(0, std::string(header_bytes, '\0') + std::string(60, 's'));
  machine.queues[1]->add({{at(0), 30, false}, {at(30), 42, false}});
  machine.kick(1);
  EXPECT_EQ(received, std::vector{std::string(60, 's')});
  EXPECT_TRUE(machine.queues[1]->poll().has_value());
  EXPECT_EQ(machine.interrupts(2), 1U);
}

TEST_P(NetTest, ReceivesFramesBehindAHeader) {
  bring_up(0);
  offer(0, 2048);
  arrive(std::string(100, 'r'));
  auto const used = machine.wait_used(0);
  EXPECT_EQ(used.length, 112U);
  EXPECT_EQ(machine.text(header_bytes, 100), std::string(100, 'r'));
  EXPECT_EQ(machine.text(10, 2), std::string("\x01\x00", 2));
  EXPECT_EQ(machine.interrupts(1), 1U);
}

TEST_P(NetTest, SpreadsALargeFrameOverMergedBuffers) {
  bring_up(mergeable | event_index);
  for (auto i = u64{0}; i < 4; ++i) offer(0x1000 * i, 512);
  arrive(std::string(1200, 'm'));
  EXPECT_EQ(machine.wait_used(0).length, 512U);
  EXPECT_EQ(machine.queues[0]->poll()->length, 512U);
  EXPECT_EQ(machine.queues[0]->poll()->length, 188U);
  EXPECT_FALSE(machine.queues[0]->poll().has_value());
  EXPECT_EQ(machine.text(10, 2), std::string("\x03\x00", 2));
  EXPECT_EQ(machine.text(0x2000, 188), std::string(188, 'm'));
}

TEST_P(NetTest, HoldsAFrameUntilTheDriverHasBuffersForAllOfIt) {
  bring_up(mergeable | event_index);
  offer(0, 512);
  arrive(std::string(800, 'h'));
  machine.executor.run_waiting();
  EXPECT_FALSE(machine.queues[0]->poll().has_value());
  EXPECT_TRUE(machine.queues[0]->device_wants_kick());
  offer(0x1000, 512);
  EXPECT_EQ(machine.wait_used(0).length, 512U);
  EXPECT_EQ(machine.queues[0]->poll()->length, 300U);
}

TEST_P(NetTest, DropsAFrameThatAllBuffersTogetherCannotHold) {
  bring_up(mergeable);
  for (auto i = u64{0}; i < 16; ++i) offer(0x1000 * i, 512);
  arrive(std::string(60000, 'x'));
  arrive(std::string(60, 'y'));
  EXPECT_EQ(machine.wait_used(0).length, 72U);
  EXPECT_EQ(machine.text(header_bytes, 60), std::string(60, 'y'));
}

TEST_P(NetTest, PushesBackOnThePortAndDeliversEverythingInOrder) {
  bring_up(event_index);
  for (auto i = 0; i < 400; ++i) arrive(std::string(60, static_cast<char>(i)));
  machine.executor.run_waiting();
  for (auto i = 0; i < 400; ++i) {
    offer(0, 2048);
    machine.executor.run_waiting();
    ASSERT_TRUE(machine.queues[0]->poll().has_value()) << i;
    ASSERT_EQ(machine.text(header_bytes, 1)[0], static_cast<char>(i));
  }
}

TEST_P(NetTest, NeedsAResetAfterAFrameWithoutAHeader) {
  bring_up(0);
  machine.queues[1]->add({{at(0), 5, false}});
  machine.kick(1);
  EXPECT_NE(machine.status() & DEVICE_NEEDS_RESET, 0);
}

TEST_P(NetTest, NeedsAResetAfterAReceiveBufferThatItMayNotWrite) {
  bring_up(0);
  machine.queues[0]->add({{at(0), 2048, false}});
  arrive(std::string(60, 'r'));
  machine.executor.run_waiting();
  EXPECT_NE(machine.status() & DEVICE_NEEDS_RESET, 0);
}

TEST_P(NetTest, SwallowsFramesOfImpossibleLength) {
  bring_up(0);
  machine.put(0, std::string(header_bytes, '\0'));
  machine.queues[1]->add({{at(0), header_bytes + 5, false}});
  machine.queues[1]->add({{at(0), 100000, false}});
  machine.kick(1);
  EXPECT_TRUE(received.empty());
  EXPECT_TRUE(machine.queues[1]->poll().has_value());
  EXPECT_TRUE(machine.queues[1]->poll().has_value());
}

TEST_P(NetTest, IsSilentWhileStoppedAndGoesOnAfterwards) {
  bring_up(0);
  machine.device.stop();
  arrive(std::string(60, 'l'));
  auto const saved = machine.device.save();
  ASSERT_TRUE(machine.device.restore(saved));
  machine.device.start();
  offer(0, 2048);
  arrive(std::string(60, 'k'));
  machine.wait_used(0);
  EXPECT_EQ(machine.text(header_bytes, 1), "k");
}

TEST(Net, ShowsItsMacAddress) {
  auto cable = net::make_cable();
  auto machine = TestMachine{std::make_unique<Net>(std::move(cable.first), NetOptions{mac})};
  EXPECT_EQ(machine.device_config<u8>(0), 0x52);
  EXPECT_EQ(machine.device_config<u8>(5), 0x56);
  EXPECT_EQ(machine.device_config<u16>(6), VIRTIO_NET_S_LINK_UP);
}

TEST(Net, KeepsTheDeviceContract) {
  auto executor = WaitingExecutor{};
  auto memory = memory::GuestMemory{};
  ASSERT_TRUE(memory.add({Gpa{0}, 1 * MiB}, memory::RegionKind::ram));
  bus::contract::expect_device_contract(
      [&] {
        auto port = std::shared_ptr{net::make_cable().first};
        return std::make_unique<VirtioPci>(executor, memory,
                                           std::make_unique<Net>(std::move(port), NetOptions{mac}));
      },
      [](VirtioPci& device) { disturb(device); });
}

}  // namespace
}  // namespace vireo::device::virtio
