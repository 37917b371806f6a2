#pragma once

#include "vocab/integers.h"

/// ACPI 6.5, section 4.8: fixed and general-purpose hardware registers.
namespace vireo::device::acpi_pm_spec {

enum Offset : u16 {  // from address_plan::pm_base
  Pm1Status = 0x00,
  Pm1Enable = 0x02,
  Pm1Control = 0x04,
  PmTimer = 0x08,
  Gpe0Status = 0x20,
  Gpe0Enable = 0x22,
  SmiEnable = 0x30,  // ICH9 data sheet, 13.8.3.8
};

enum Pm1Bit : u16 {  // 4.8.3.1: the same in status and enable
  TimerStatus = 1 << 0,
  GlobalStatus = 1 << 5,
  PowerButton = 1 << 8,
  SleepButton = 1 << 9,
  RtcAlarm = 1 << 10,
  WakeStatus = 1 << 15,
};
inline constexpr u16 status_bits{TimerStatus | GlobalStatus | PowerButton | SleepButton | RtcAlarm |
                                 WakeStatus};
inline constexpr u16 enable_bits{TimerStatus | GlobalStatus | PowerButton | SleepButton | RtcAlarm};

enum ControlBit : u16 {  // 4.8.3.2
  SciEnable = 1 << 0,
  BusMasterReload = 1 << 1,
  SleepTypeMask = 7 << 10,
  SleepEnable = 1 << 13,
};
inline constexpr u16 sleep_type_shift{10};
inline constexpr u16 sleep_type_s5{5};  // the DSDT's \_S5 says so

/// APMC_EN. It reads as set: system-management mode is taken already, so firmware leaves it alone.
inline constexpr u8 smi_by_port{1 << 5};

inline constexpr u64 timer_hz{3'579'545};
inline constexpr u64 timer_overflow{u64{1} << 31};  // TMR_STS: bit 31 of the 32-bit timer changed

}  // namespace vireo::device::acpi_pm_spec
