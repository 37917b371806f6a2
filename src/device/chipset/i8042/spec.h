#pragma once

#include "vocab/integers.h"

/// IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller" and "Keyboards";
/// port 92h: the same, "System Control Port A".
namespace vireo::device::i8042_spec {

enum Port : u16 { Data = 0x60, Command = 0x64, SystemControlA = 0x92 };

enum StatusBit : u8 {
  OutputFull = 1 << 0,
  SystemFlag = 1 << 2,
  LastWasCommand = 1 << 3,
  KeyboardUnlocked = 1 << 4,
  OutputIsAuxiliary = 1 << 5,
};

enum ControllerCommand : u8 {
  ReadMemory = 0x20,   // 0x20..0x3F
  WriteMemory = 0x60,  // 0x60..0x7F
  DisableAuxiliary = 0xA7,
  EnableAuxiliary = 0xA8,
  TestAuxiliary = 0xA9,
  SelfTest = 0xAA,
  TestKeyboard = 0xAB,
  DisableKeyboard = 0xAD,
  EnableKeyboard = 0xAE,
  ReadInputPort = 0xC0,
  ReadOutputPort = 0xD0,
  WriteOutputPort = 0xD1,
  WriteKeyboardBuffer = 0xD2,
  WriteAuxiliaryBuffer = 0xD3,
  WriteAuxiliary = 0xD4,
  PulseOutputPort = 0xF0,  // 0xF0..0xFF: low bits that are 0 are pulsed low; bit 0 is the reset line
};

enum CommandByteBit : u8 {  // memory byte 0
  KeyboardInterrupt = 1 << 0,
  AuxiliaryInterrupt = 1 << 1,
  SystemFlagSet = 1 << 2,
  KeyboardDisabled = 1 << 4,
  AuxiliaryDisabled = 1 << 5,
  Translate = 1 << 6,
};
inline constexpr u8 command_byte_reset{KeyboardInterrupt | SystemFlagSet | AuxiliaryDisabled | Translate};

enum OutputPortBit : u8 { ResetHigh = 1 << 0, GateA20 = 1 << 1, KeyboardOutputFull = 1 << 4 };
enum SystemControlABit : u8 { FastReset = 1 << 0, FastA20 = 1 << 1 };

enum KeyboardCommand : u8 {
  SetLeds = 0xED,
  Echo = 0xEE,
  ScanCodeSet = 0xF0,
  Identify = 0xF2,
  SetRate = 0xF3,
  EnableScanning = 0xF4,
  DisableScanning = 0xF5,
  SetDefaults = 0xF6,
  Resend = 0xFE,
  KeyboardReset = 0xFF,
};

enum KeyboardReply : u8 { Acknowledge = 0xFA, TestPassed = 0xAA, ResendRequest = 0xFE };

inline constexpr u8 controller_test_passed{0x55};
inline constexpr u8 auxiliary_test_failed{0xFF};  // no auxiliary device
inline constexpr u8 queue_depth{16};

}  // namespace vireo::device::i8042_spec
