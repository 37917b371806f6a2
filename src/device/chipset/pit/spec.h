#pragma once

#include "vocab/integers.h"

/// Intel 8254 data sheet (231164); port 61h: ICH9 data sheet 13.7.1 (NMI_SC).
namespace vireo::device::pit_spec {

enum Port : u16 {
  Counter0 = 0x40,
  Counter1 = 0x41,
  Counter2 = 0x42,
  ControlWord = 0x43,
  NmiStatusControl = 0x61
};

inline constexpr u64 input_hz{1'193'182};

enum Access : u8 { LatchCommand = 0, LowByte = 1, HighByte = 2, LowThenHigh = 3 };

enum Mode : u8 {
  InterruptOnTerminalCount = 0,
  HardwareOneShot = 1,
  RateGenerator = 2,
  SquareWave = 3,
  SoftwareStrobe = 4,
  HardwareStrobe = 5,
};

inline constexpr u8 read_back{3};  // in the control word's counter field
enum ReadBackBit : u8 { KeepStatus = 1 << 4, KeepCount = 1 << 5 };
enum StatusBit : u8 { NullCount = 1 << 6, Output = 1 << 7 };

enum NmiStatusControlBit : u8 {
  Timer2Gate = 1 << 0,
  SpeakerData = 1 << 1,
  RefreshToggle = 1 << 4,
  Timer2Output = 1 << 5,
};
inline constexpr u64 refresh_toggle_ns{15'085};

}  // namespace vireo::device::pit_spec
