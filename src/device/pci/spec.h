#pragma once

#include "vocab/integers.h"

/// PCI Local Bus 3.0, 3.2.2.3.2 (configuration mechanism #1); PCIe 5.0, 7.2.2 (ECAM); ICH9 data sheet 13.7.5
/// (RST_CNT).
namespace vireo::device::host_bridge_spec {

enum Port : u16 { ConfigAddress = 0xCF8, ResetControl = 0xCF9, ConfigData = 0xCFC };

enum ConfigAddressField : u32 {
  Enable = 0x8000'0000,
  BusMask = 0x00FF'0000,
  DeviceMask = 0x0000'F800,
  FunctionMask = 0x0000'0700,
  RegisterMask = 0x0000'00FC,
};

enum ResetControlBit : u8 { SystemReset = 1 << 1, ResetCpu = 1 << 2, FullReset = 1 << 3 };

/// Q35 data sheet, 5.1: the MCH's own registers.
enum MchRegister : u16 { PAM0 = 0x90, PAM1, PAM2, PAM3, PAM4, PAM5, PAM6 };

// Q35 MCH and ICH9 LPC bridge, as guests know them.
inline constexpr u16 vendor_intel{0x8086};
inline constexpr u16 device_q35_mch{0x29C0};
inline constexpr u16 device_ich9_lpc{0x2918};
inline constexpr u32 class_host_bridge{0x06'00'00};
inline constexpr u32 class_isa_bridge{0x06'01'00};

}  // namespace vireo::device::host_bridge_spec
