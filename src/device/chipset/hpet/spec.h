#pragma once

#include "vocab/integers.h"

/// IA-PC HPET Specification 1.0a, chapter 2.3.
namespace vireo::device::hpet_spec {

enum Offset : u32 {
  Capabilities = 0x000,
  Configuration = 0x010,
  InterruptStatus = 0x020,
  MainCounter = 0x0F0,
  Timer0 = 0x100,
};
inline constexpr u32 timer_stride{0x20};
enum TimerOffset : u32 { TimerConfiguration = 0x00, Comparator = 0x08, FsbRoute = 0x10 };

inline constexpr u32 timer_count{3};
inline constexpr u64 tick_ns{10};

// Revision 1, three timers, 64-bit counter, legacy replacement, vendor 8086h, period in femtoseconds.
inline constexpr u64 capabilities{tick_ns * 1'000'000 << 32 | u64{0x8086} << 16 | 1 << 15 | 1 << 13 |
                                  (timer_count - 1) << 8 | 1};

enum ConfigurationBit : u64 { Enable = 1 << 0, LegacyReplacement = 1 << 1 };

enum TimerBit : u64 {
  LevelTriggered = 1 << 1,
  InterruptEnable = 1 << 2,
  PeriodicMode = 1 << 3,
  PeriodicCapable = 1 << 4,
  Capable64 = 1 << 5,
  SetValue = 1 << 6,
  Force32 = 1 << 8,
  RouteMask = 0x1F << 9,
  FsbEnable = 1 << 14,
  FsbCapable = 1 << 15,
};
inline constexpr u32 route_shift{9};
inline constexpr u64 writable_timer_bits{LevelTriggered | InterruptEnable | PeriodicMode | SetValue | Force32 |
                                         RouteMask | FsbEnable};
inline constexpr u32 routes{0x00F0'0000};  // GSI 20..23
inline constexpr u64 fixed_timer_bits{u64{routes} << 32 | PeriodicCapable | Capable64 | FsbCapable};

// A guest must not keep the executor busy with nothing but alarms.
inline constexpr u64 shortest_period_ns{50'000};

}  // namespace vireo::device::hpet_spec
