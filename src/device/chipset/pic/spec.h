#pragma once

#include "vocab/integers.h"

/// Intel 8259A data sheet (order number 231468); edge/level registers: Intel ICH9 data sheet 13.4.8.
namespace vireo::device::pic_spec {

enum Port : u16 {
  MasterCommand = 0x20,
  MasterData = 0x21,
  SlaveCommand = 0xA0,
  SlaveData = 0xA1,
  MasterEdgeLevel = 0x4D0,
  SlaveEdgeLevel = 0x4D1,
};

enum Icw1Bit : u8 { Icw4Needed = 1 << 0, Single = 1 << 1, Initialize = 1 << 4 };
enum Icw4Bit : u8 { AutoEoi = 1 << 1, SpecialFullyNested = 1 << 4 };

enum Ocw2Command : u8 {  // bits 7..5: R, SL, EOI
  ClearRotateInAutoEoi = 0,
  NonSpecificEoi = 1,
  NoOperation = 2,
  SpecificEoi = 3,
  SetRotateInAutoEoi = 4,
  RotateOnNonSpecificEoi = 5,
  SetPriority = 6,
  RotateOnSpecificEoi = 7,
};

enum Ocw3Bit : u8 {
  ReadInService = 1 << 0,
  ReadRegister = 1 << 1,
  Poll = 1 << 2,
  Ocw3 = 1 << 3,
  SpecialMask = 1 << 5,
  EnableSpecialMask = 1 << 6,
};

inline constexpr u8 cascade_input{2};
// Inputs that may be level-triggered: not timer, keyboard, cascade, RTC, coprocessor.
inline constexpr u8 master_level_mask{0xF8};
inline constexpr u8 slave_level_mask{0xDE};

}  // namespace vireo::device::pic_spec
