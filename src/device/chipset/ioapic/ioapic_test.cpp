#include "device/chipset/ioapic/ioapic.h"

#include "bus/device_contract.h"
#include "device/chipset/line_probe.h"

namespace vireo::device {
namespace {

using namespace ioapic_spec;

struct IoapicTest : testing::Test {
  static constexpr Gpa base{bus::address_plan::ioapic.start};
  u32 get(u8 index) {
    ioapic.write_mmio(base, 4, index);
    return static_cast<u32>(ioapic.read_mmio(base + Window, 4));
  }
  void put(u8 index, u32 value) {
    ioapic.write_mmio(base, 4, index);
    ioapic.write_mmio(base + Window, 4, value);
  }
  void route(u8 pin, u64 entry) {
    put(static_cast<u8>(0x11 + 2 * pin), static_cast<u32>(entry >> 32));
    put(static_cast<u8>(0x10 + 2 * pin), static_cast<u32>(entry));
  }
  MsiProbe sink;
  Ioapic ioapic{sink};
};

TEST_F(IoapicTest, SaysThatItHas24Pins) { EXPECT_EQ(get(Version), 0x0017'0020U); }

TEST_F(IoapicTest, EdgeBecomesOneMessage) {
  route(4, u64{3} << 56 | LogicalDestination | 0x134);
  ioapic.set_input(4, true);
  ioapic.set_input(4, true);
  EXPECT_EQ(sink.messages, (std::vector<MsiProbe::Message>{{0xFEE0'3004, 0x134}}));
}

TEST_F(IoapicTest, MaskedEdgeIsLost) {
  route(4, Masked | 0x34);
  ioapic.set_input(4, true);
  route(4, 0x34);
  EXPECT_TRUE(sink.messages.empty());
}

TEST_F(IoapicTest, LevelIsSentAgainAfterEoiWhileStillAsserted) {
  route(16, LevelTriggered | 0x50);
  ioapic.set_input(16, true);
  ioapic.set_input(16, true);
  EXPECT_EQ(sink.messages, (std::vector<MsiProbe::Message>{{0xFEE0'0000, 0xC050}}));
  EXPECT_NE(get(0x30) & RemoteIrr, 0U);
  ioapic.end_of_interrupt(0x50);
  EXPECT_EQ(sink.messages.size(), 2U);
  ioapic.set_input(16, false);
  ioapic.write_mmio(base + Eoi, 4, 0x50);
  EXPECT_EQ(sink.messages.size(), 2U);
  EXPECT_EQ(get(0x30) & RemoteIrr, 0U);
}

TEST_F(IoapicTest, LevelAssertedWhileMaskedIsSentAtUnmasking) {
  route(16, LevelTriggered | Masked | 0x50);
  ioapic.set_input(16, true);
  EXPECT_TRUE(sink.messages.empty());
  route(16, LevelTriggered | 0x50);
  EXPECT_EQ(sink.messages.size(), 1U);
}

TEST_F(IoapicTest, SwitchingToEdgeClearsRemoteIrr) {
  route(16, LevelTriggered | 0x50);
  ioapic.set_input(16, true);
  route(16, Masked | 0x50);
  EXPECT_EQ(get(0x30), 0x1'0050U);
}

TEST(Ioapic, KeepsTheDeviceContract) {
  auto sink = MsiProbe{};
  bus::contract::expect_device_contract([&] { return std::make_unique<Ioapic>(sink); },
                                        [](Ioapic& ioapic) { ioapic.set_input(5, true); });
  auto ioapic = Ioapic{sink};
  bus::contract::expect_refused(ioapic, 3, u32{0xFFFF'FFFF});
  bus::contract::expect_refused(ioapic, 2, u8{0x10});
}

}  // namespace
}  // namespace vireo::device
