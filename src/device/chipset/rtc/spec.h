#pragma once

#include "vocab/integers.h"

/// Motorola MC146818A data sheet (ADI1026); the CMOS layout is the IBM PC AT's.
namespace vireo::device::rtc_spec {

enum Port : u16 { Index = 0x70, Data = 0x71 };

enum Register : u8 {
  Seconds = 0x00,
  SecondsAlarm = 0x01,
  Minutes = 0x02,
  MinutesAlarm = 0x03,
  Hours = 0x04,
  HoursAlarm = 0x05,
  DayOfWeek = 0x06,
  DayOfMonth = 0x07,
  Month = 0x08,
  Year = 0x09,
  RegisterA = 0x0A,
  RegisterB = 0x0B,
  RegisterC = 0x0C,
  RegisterD = 0x0D,
  EquipmentByte = 0x14,
  BaseMemoryLow = 0x15,      // KiB
  ExtendedMemoryLow = 0x17,  // KiB above 1 MiB, at most 65535
  ChecksumHigh = 0x2E,       // of 0x10..0x2D
  ChecksumLow = 0x2F,
  ExtendedMemory2Low = 0x30,  // the same as 0x17
  Century = 0x32,             // FADT's CENTURY names it
  MemoryAbove16MLow = 0x34,   // 64 KiB units
  MemoryAbove4GLow = 0x5B,    // 64 KiB units, three bytes
};

enum RegisterABit : u8 { RateMask = 0x0F, DividerMask = 0x70, DividerReset = 0x60, UpdateInProgress = 0x80 };
inline constexpr u8 register_a_reset{0x26};  // 32768 Hz time base, 1024 Hz rate

enum RegisterBBit : u8 {
  DaylightSaving = 1 << 0,
  Hours24 = 1 << 1,
  Binary = 1 << 2,
  SquareWaveEnable = 1 << 3,
  UpdateInterrupt = 1 << 4,
  AlarmInterrupt = 1 << 5,
  PeriodicInterrupt = 1 << 6,
  Set = 1 << 7,
};

enum RegisterCBit : u8 { UpdateEnded = 1 << 4, Alarm = 1 << 5, Periodic = 1 << 6, InterruptRequest = 1 << 7 };
enum RegisterDBit : u8 { ValidRam = 1 << 7 };

inline constexpr u8 alarm_any{0xC0};  // both top bits set: matches always
inline constexpr u8 hours_pm{0x80};   // in 12-hour mode
inline constexpr u64 time_base_hz{32768};
inline constexpr u64 update_lead_ns{244'000};  // UIP precedes the update by 244 us

}  // namespace vireo::device::rtc_spec
