#include "device/chipset/acpi_pm/acpi_pm.h"

#include "bus/device_contract.h"
#include "bus/manual_executor.h"
#include "device/chipset/acpi_pm/spec.h"
#include "device/chipset/line_probe.h"

namespace vireo::device {
namespace {

using namespace acpi_pm_spec;
using namespace bus::address_plan;

struct AcpiPmTest : testing::Test {
  bus::ManualExecutor executor;
  LineProbe sci;
  ControlProbe control;
  AcpiPm pm{executor, sci, control};
};

TEST_F(AcpiPmTest, TimerRunsAt3579545Hertz) {
  auto const first = pm.read_port(pm_timer, 4);
  executor.advance(1'000'000'000);
  EXPECT_NEAR(pm.read_port(pm_timer, 4) - first, 3'579'545, 1);
}

TEST_F(AcpiPmTest, PowerButtonRaisesSciUntilStatusIsCleared) {
  pm.write_port(pm1a_event + 2, 2, PowerButton);
  pm.press_power_button();
  EXPECT_TRUE(sci.high);
  EXPECT_EQ(pm.read_port(pm1a_event, 2), PowerButton);
  pm.write_port(pm1a_event, 2, PowerButton);
  EXPECT_FALSE(sci.high);
}

TEST_F(AcpiPmTest, DisabledButtonOnlySetsStatus) {
  pm.press_power_button();
  EXPECT_FALSE(sci.high);
  pm.write_port(pm1a_event, 4, PowerButton << 16);
  EXPECT_TRUE(sci.high);
}

TEST_F(AcpiPmTest, SleepingInS5PowersOff) {
  pm.write_port(pm1a_control, 2, SleepEnable | 1U << sleep_type_shift);
  EXPECT_EQ(control.power_offs, 0);
  pm.write_port(pm1a_control, 2, SleepEnable | sleep_type_s5 << sleep_type_shift);
  EXPECT_EQ(control.power_offs, 1);
  EXPECT_EQ(pm.read_port(pm1a_control, 2) & SleepEnable, 0U);
}

TEST_F(AcpiPmTest, IsAlwaysInAcpiMode) {
  pm.write_port(pm1a_control, 2, 0);
  EXPECT_EQ(pm.read_port(pm1a_control, 2), SciEnable);
}

TEST_F(AcpiPmTest, TimerOverflowInterruptsWhenEnabled) {
  pm.start();
  pm.write_port(pm1a_event + 2, 2, TimerStatus);
  executor.advance(timer_overflow * 1'000'000'000 / timer_hz);
  EXPECT_TRUE(sci.high);
  EXPECT_EQ(pm.read_port(pm1a_event, 2), TimerStatus);
}

TEST_F(AcpiPmTest, GeneralPurposeEventRaisesSci) {
  pm.write_port(gpe0 + 2, 2, 1 << 3);
  pm.raise_event(3);
  EXPECT_TRUE(sci.high);
  pm.write_port(gpe0, 1, 1 << 3);
  EXPECT_FALSE(sci.high);
}

TEST_F(AcpiPmTest, KeepsTheDeviceContract) {
  bus::contract::expect_device_contract([&] { return std::make_unique<AcpiPm>(executor, sci, control); },
                                        [](AcpiPm& device) { device.press_power_button(); });
  bus::contract::expect_refused(pm, 3, u16{0xFFFF});
  bus::contract::expect_refused(pm, 1, u16{0x4000});
}

}  // namespace
}  // namespace vireo::device
