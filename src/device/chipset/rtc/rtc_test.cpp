#include "device/chipset/rtc/rtc.h"

#include "bus/device_contract.h"
#include "bus/manual_executor.h"
#include "device/chipset/line_probe.h"

namespace vireo::device {
namespace {

using namespace rtc_spec;

constexpr u64 second{1'000'000'000};

RtcConfig config() {
  return {.low_memory = 2 * GiB, .high_memory = GiB, .wall_clock_ns = [] {
            return static_cast<u64>(seconds_of(
                       {.year = 2026, .month = 2, .day = 28, .hour = 23, .minute = 59, .second = 58})) *
                   second;
          }};
}

struct RtcTest : testing::Test {
  u32 get(u8 index) {
    rtc.write_port(Index, 1, index);
    return rtc.read_port(Data, 1);
  }
  void put(u8 index, u8 value) {
    rtc.write_port(Index, 1, index);
    rtc.write_port(Data, 1, value);
  }
  bus::ManualExecutor executor;
  LineProbe irq;
  Rtc rtc{config(), executor, irq};
};

TEST_F(RtcTest, ShowsTheWallClockInBcdAndCountsOn) {
  EXPECT_EQ(get(Hours), 0x23U);
  EXPECT_EQ(get(Seconds), 0x58U);
  executor.advance(2 * second);
  EXPECT_EQ(get(Seconds), 0x00U);
  EXPECT_EQ(get(DayOfMonth), 0x01U);
  EXPECT_EQ(get(Month), 0x03U);
  EXPECT_EQ(get(Year), 0x26U);
  EXPECT_EQ(get(Century), 0x20U);
  EXPECT_EQ(get(DayOfWeek), 1U) << "1 March 2026 is a Sunday";
}

TEST_F(RtcTest, ShowsBinaryAndTwelveHourForms) {
  put(RegisterB, Binary);
  EXPECT_EQ(get(Hours), 11U | hours_pm);
  EXPECT_EQ(get(Minutes), 59U);
}

TEST_F(RtcTest, SettingTheClockTakesEffectWhenSetIsCleared) {
  put(RegisterB, Set | Hours24);
  put(Hours, 0x05);
  put(Year, 0x31);
  executor.advance(10 * second);
  EXPECT_EQ(get(Seconds), 0x58U);
  put(RegisterB, Hours24);
  executor.advance(second);
  EXPECT_EQ(get(Seconds), 0x59U);
  EXPECT_EQ(get(Hours), 0x05U);
  EXPECT_EQ(get(Year), 0x31U);
}

TEST_F(RtcTest, UpdateInProgressShowsJustBeforeTheSecond) {
  EXPECT_EQ(get(RegisterA) & UpdateInProgress, 0U);
  executor.advance(second - update_lead_ns);
  EXPECT_NE(get(RegisterA) & UpdateInProgress, 0U);
}

TEST_F(RtcTest, UpdateInterruptComesEachSecondAndReadingCEndsIt) {
  rtc.start();
  put(RegisterB, Hours24 | UpdateInterrupt);
  executor.advance(second);
  EXPECT_TRUE(irq.high);
  EXPECT_EQ(get(RegisterC) & (InterruptRequest | UpdateEnded), u32{InterruptRequest | UpdateEnded});
  EXPECT_FALSE(irq.high);
  executor.advance(second);
  EXPECT_TRUE(irq.high);
}

TEST_F(RtcTest, AlarmInterruptsAtItsTimeOnly) {
  rtc.start();
  put(HoursAlarm, 0xFF);
  put(MinutesAlarm, 0x00);
  put(SecondsAlarm, 0x05);
  put(RegisterB, Hours24 | AlarmInterrupt);
  executor.advance(6 * second);
  EXPECT_FALSE(irq.high);
  executor.advance(second);
  EXPECT_TRUE(irq.high);
  EXPECT_EQ(get(RegisterC) & (Alarm | InterruptRequest), u32{Alarm | InterruptRequest});
}

TEST_F(RtcTest, PeriodicInterruptComesAtItsRate) {
  rtc.start();
  put(RegisterA, 0x26);
  put(RegisterB, Hours24 | PeriodicInterrupt);
  executor.advance(second / 1024 + 1000);
  EXPECT_TRUE(irq.high);
  EXPECT_NE(get(RegisterC) & Periodic, 0U);
  EXPECT_FALSE(irq.high);
}

TEST_F(RtcTest, FlagsAreSeenWithoutInterrupts) {
  executor.advance(second);
  EXPECT_EQ(get(RegisterC) & (UpdateEnded | InterruptRequest), u32{UpdateEnded});
  EXPECT_EQ(executor.armed_timers(), 0U);
}

TEST_F(RtcTest, TellsMemorySizes) {
  EXPECT_EQ(get(BaseMemoryLow) | get(BaseMemoryLow + 1) << 8, 640U);
  EXPECT_EQ(get(MemoryAbove16MLow) | get(MemoryAbove16MLow + 1) << 8, (2 * GiB - 16 * MiB) / (64 * KiB));
  EXPECT_EQ(get(MemoryAbove4GLow + 1), (GiB / (64 * KiB)) >> 8);
}

TEST_F(RtcTest, KeepsTheDeviceContract) {
  bus::contract::expect_device_contract([&] { return std::make_unique<Rtc>(config(), executor, irq); },
                                        [](Rtc& device) {
                                          device.write_port(Index, 1, 0x40);
                                          device.write_port(Data, 1, 0x55);
                                        });
  bus::contract::expect_refused(rtc, 1, u8{0x80});
  bus::contract::expect_refused(rtc, 3, std::numeric_limits<i64>::min());
  bus::contract::expect_refused(rtc, 4, std::numeric_limits<i64>::max());
}

}  // namespace
}  // namespace vireo::device
