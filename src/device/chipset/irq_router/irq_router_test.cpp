#include "device/chipset/irq_router/irq_router.h"

#include "bus/device_contract.h"
#include "device/chipset/line_probe.h"

namespace vireo::device {
namespace {

struct IrqRouterTest : testing::Test {
  void route(u8 pin, u32 entry) {
    ioapic.write_mmio(bus::address_plan::ioapic.start, 4, 0x10 + 2U * pin);
    ioapic.write_mmio(bus::address_plan::ioapic.start + 0x10, 4, entry);
  }
  LineProbe intr;
  MsiProbe sink;
  Pic pic{intr};
  Ioapic ioapic{sink};
  IrqRouter router{pic, ioapic};
};

TEST_F(IrqRouterTest, TimerReachesPicInput0AndIoapicPin2) {
  auto& timer = router.attach_legacy(0);
  route(2, 0x30);
  timer.pulse();
  EXPECT_EQ(sink.messages.size(), 1U);
  EXPECT_EQ(pic.read_port(0x20, 1), 1U);
}

TEST_F(IrqRouterTest, SharedInputFallsOnlyWhenAllWiresAreLow) {
  auto& first = router.attach(17);
  auto& second = router.attach(17);
  route(17, 0x8050);
  first.set(true);
  second.set(true);
  first.set(false);
  ioapic.end_of_interrupt(0x50);
  EXPECT_EQ(sink.messages.size(), 2U);
  second.set(false);
  ioapic.end_of_interrupt(0x50);
  EXPECT_EQ(sink.messages.size(), 2U);
}

TEST_F(IrqRouterTest, LegacyReplacementCutsTheOldTimerWire) {
  auto& pit = router.attach_legacy(0);
  auto& hpet = router.attach(0);
  route(2, 0x30);
  router.set_legacy_replaced(true);
  pit.pulse();
  EXPECT_TRUE(sink.messages.empty());
  hpet.pulse();
  EXPECT_EQ(sink.messages.size(), 1U);
}

TEST_F(IrqRouterTest, KeepsTheDeviceContract) {
  auto* wire = static_cast<bus::IrqLine*>(nullptr);
  auto const make = [&] {
    auto fresh = std::make_unique<IrqRouter>(pic, ioapic);
    wire = &fresh->attach(5);
    return fresh;
  };
  auto device = make();
  wire->set(true);
  auto const saved = device->save();
  auto copy = make();
  ASSERT_TRUE(copy->restore(saved));
  EXPECT_EQ(copy->save(), saved);
  bus::contract::expect_refused(*copy, 1, u8{2});
  device->reset();
  EXPECT_EQ(device->save(), make()->save());
}

}  // namespace
}  // namespace vireo::device
