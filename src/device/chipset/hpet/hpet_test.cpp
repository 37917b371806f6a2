#include "device/chipset/hpet/hpet.h"

#include "bus/device_contract.h"
#include "bus/manual_executor.h"
#include "device/chipset/line_probe.h"

namespace vireo::device {
namespace {

using namespace hpet_spec;

struct HpetTest : testing::Test {
  void SetUp() override { hpet.start(); }
  HpetWiring wiring() {
    return {.legacy_timer = &timer_line,
            .legacy_rtc = &rtc_line,
            .routed = {&routed[0], &routed[1], &routed[2], &routed[3]},
            .set_legacy_replaced = [this](bool on) { replaced = on; }};
  }
  u64 get(u32 offset, u8 width = 8) { return hpet.read_mmio(bus::address_plan::hpet.start + offset, width); }
  void put(u32 offset, u64 value, u8 width = 8) {
    hpet.write_mmio(bus::address_plan::hpet.start + offset, width, value);
  }
  static constexpr u32 timer(u32 index, u32 offset) { return Timer0 + index * timer_stride + offset; }

  bus::ManualExecutor executor;
  LineProbe timer_line, rtc_line;
  std::array<LineProbe, 4> routed;
  bool replaced{false};
  MsiProbe msi;
  Hpet hpet{wiring(), executor, msi};
};

TEST_F(HpetTest, CounterRunsAt100MegahertzWhileEnabled) {
  EXPECT_EQ(get(Capabilities) >> 32, 10'000'000U);
  executor.advance(1000);
  EXPECT_EQ(get(MainCounter), 0U);
  put(Configuration, Enable);
  executor.advance(1000);
  EXPECT_EQ(get(MainCounter), 100U);
  put(Configuration, 0);
  executor.advance(1000);
  EXPECT_EQ(get(MainCounter, 4), 100U);
}

TEST_F(HpetTest, OneShotPulsesItsRoute) {
  put(timer(0, TimerConfiguration), InterruptEnable | u64{21} << route_shift);
  put(timer(0, Comparator), 100'000);
  put(Configuration, Enable);
  executor.advance(999'000);
  EXPECT_EQ(routed[1].rises, 0);
  executor.advance(10'000'000);
  EXPECT_EQ(routed[1].rises, 1);
  EXPECT_FALSE(routed[1].high);
}

TEST_F(HpetTest, PeriodicFollowsLinuxsWriteSequence) {
  put(Configuration, Enable | LegacyReplacement);
  EXPECT_TRUE(replaced);
  put(timer(0, TimerConfiguration), InterruptEnable | PeriodicMode | SetValue | Force32, 4);
  put(timer(0, Comparator), 100'000, 4);
  put(timer(0, Comparator), 400'000, 4);
  executor.advance(1'000'000);
  EXPECT_EQ(timer_line.rises, 1);
  executor.advance(40'000'000);
  EXPECT_EQ(timer_line.rises, 11);
}

TEST_F(HpetTest, LevelTriggeredStaysUntilStatusIsCleared) {
  put(timer(2, TimerConfiguration), InterruptEnable | LevelTriggered | u64{23} << route_shift);
  put(timer(2, Comparator), 10'000);
  put(Configuration, Enable);
  executor.advance(1'000'000);
  EXPECT_TRUE(routed[3].high);
  EXPECT_EQ(get(InterruptStatus), 4U);
  put(InterruptStatus, 4);
  EXPECT_FALSE(routed[3].high);
}

TEST_F(HpetTest, SendsMessagesWhenAskedTo) {
  put(timer(1, TimerConfiguration), InterruptEnable | FsbEnable);
  put(timer(1, FsbRoute), u64{0xFEE0'0000} << 32 | 0x45);
  put(timer(1, Comparator), 10'000);
  put(Configuration, Enable);
  executor.advance(1'000'000);
  EXPECT_EQ(msi.messages, (std::vector<MsiProbe::Message>{{0xFEE0'0000, 0x45}}));
}

TEST_F(HpetTest, TinyPeriodsDoNotFloodTheExecutor) {
  put(timer(0, TimerConfiguration), InterruptEnable | PeriodicMode | SetValue | u64{20} << route_shift);
  put(timer(0, Comparator), 1);
  put(Configuration, Enable);
  executor.advance(1'000'000);
  EXPECT_LE(routed[0].rises, 21);
}

TEST_F(HpetTest, KeepsTheDeviceContract) {
  bus::contract::expect_device_contract(
      [&] { return std::make_unique<Hpet>(wiring(), executor, msi); },
      [](Hpet& device) { device.write_mmio(bus::address_plan::hpet.start + MainCounter, 8, 77); });
  bus::contract::expect_refused(hpet, 1, u64{4});
  bus::contract::expect_refused(hpet, 4, u64{5});
}

}  // namespace
}  // namespace vireo::device
