#include "device/chipset/pit/pit.h"

#include "bus/device_contract.h"
#include "bus/manual_executor.h"
#include "device/chipset/line_probe.h"

namespace vireo::device {
namespace {

using namespace pit_spec;

constexpr u64 clocks(u64 count) { return count * 1'000'000'000 / input_hz + 1; }

struct PitTest : testing::Test {
  void SetUp() override { pit.start(); }
  void program(u16 counter, u8 mode, u16 count) {
    pit.write_port(ControlWord, 1, static_cast<u32>((counter - Counter0) << 6 | 0x30 | mode << 1));
    pit.write_port(counter, 1, count & 0xFF);
    pit.write_port(counter, 1, count >> 8);
  }
  u32 read16(u16 counter) {
    auto const low = pit.read_port(counter, 1);
    return low | pit.read_port(counter, 1) << 8;
  }
  bus::ManualExecutor executor;
  LineProbe irq;
  Pit pit{executor, irq};
};

TEST_F(PitTest, RateGeneratorInterruptsOncePerPeriodWithoutDrift) {
  program(Counter0, RateGenerator, 11932);
  auto const before = irq.rises;
  executor.advance(clocks(11932 * 100));
  EXPECT_EQ(irq.rises - before, 100);
}

TEST_F(PitTest, TerminalCountInterruptsOnce) {
  program(Counter0, InterruptOnTerminalCount, 1000);
  EXPECT_FALSE(irq.high);
  executor.advance(clocks(999) - 100);
  EXPECT_FALSE(irq.high);
  executor.advance(clocks(2));
  EXPECT_TRUE(irq.high);
  EXPECT_EQ(executor.armed_timers(), 0U);
}

TEST_F(PitTest, SoftwareStrobeInterruptsOnceAfterTheCount) {
  program(Counter0, SoftwareStrobe, 1000);
  auto const before = irq.rises;
  executor.advance(clocks(100'000));
  EXPECT_EQ(irq.rises - before, 1);
}

TEST_F(PitTest, CountRunsDownAtTheInputClock) {
  program(Counter2, InterruptOnTerminalCount, 0xFFFF);
  pit.write_port(NmiStatusControl, 1, Timer2Gate);
  executor.advance(clocks(0x1000));
  EXPECT_NEAR(read16(Counter2), 0xEFFF, 1);
}

TEST_F(PitTest, LatchedCountStaysWhileTimePasses) {
  program(Counter0, RateGenerator, 0);
  executor.advance(clocks(0x100));
  pit.write_port(ControlWord, 1, 0x00);
  executor.advance(clocks(0x500));
  EXPECT_NEAR(read16(Counter0), 0xFF00, 1);
  EXPECT_NEAR(read16(Counter0), 0xFA00, 2);
}

TEST_F(PitTest, GateAndOutputOfCounter2AreSeenInPort61) {
  pit.write_port(NmiStatusControl, 1, Timer2Gate);
  program(Counter2, InterruptOnTerminalCount, 1000);
  EXPECT_EQ(pit.read_port(NmiStatusControl, 1) & (Timer2Output | Timer2Gate), Timer2Gate);
  executor.advance(clocks(1001));
  EXPECT_NE(pit.read_port(NmiStatusControl, 1) & Timer2Output, 0U);
}

TEST_F(PitTest, ClosedGateHoldsTheCount) {
  pit.write_port(NmiStatusControl, 1, Timer2Gate);
  program(Counter2, InterruptOnTerminalCount, 1000);
  executor.advance(clocks(500));
  pit.write_port(NmiStatusControl, 1, 0);
  executor.advance(clocks(5000));
  EXPECT_NEAR(read16(Counter2), 500, 1);
  pit.write_port(NmiStatusControl, 1, Timer2Gate);
  executor.advance(clocks(100));
  EXPECT_NEAR(read16(Counter2), 400, 2);
}

TEST_F(PitTest, ReadBackGivesStatusThenCount) {
  program(Counter0, SquareWave, 100);
  pit.write_port(ControlWord, 1, 0xC2);
  EXPECT_EQ(pit.read_port(Counter0, 1), u32{Output | 0x30 | SquareWave << 1});
  EXPECT_EQ(read16(Counter0), 100U);
}

TEST_F(PitTest, CountsInBcd) {
  pit.write_port(ControlWord, 1, 0x31);
  pit.write_port(Counter0, 1, 0x00);
  pit.write_port(Counter0, 1, 0x10);
  executor.advance(clocks(1));
  EXPECT_EQ(read16(Counter0), 0x0999U);
}

TEST(Pit, KeepsTheDeviceContract) {
  auto executor = bus::ManualExecutor{};
  auto irq = LineProbe{};
  bus::contract::expect_device_contract([&] { return std::make_unique<Pit>(executor, irq); },
                                        [](Pit& pit) { pit.write_port(ControlWord, 1, 0x34); });
  auto pit = Pit{executor, irq};
  bus::contract::expect_refused(pit, 1, std::vector<std::byte>(3 * sizeof(PitCounter)));
}

}  // namespace
}  // namespace vireo::device
