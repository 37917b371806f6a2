#pragma once

#include "vocab/integers.h"

/// PCI Local Bus 3.0, chapter 6: configuration space, header type 0.
namespace vireo::bus::pci_spec {

enum Offset : u16 {
  VendorId = 0x00,
  DeviceId = 0x02,
  Command = 0x04,
  Status = 0x06,
  RevisionId = 0x08,
  ClassCode = 0x09,
  CacheLineSize = 0x0C,
  HeaderType = 0x0E,
  BaseAddress0 = 0x10,
  SubsystemVendorId = 0x2C,
  SubsystemId = 0x2E,
  CapabilitiesPointer = 0x34,
  InterruptLine = 0x3C,
  InterruptPin = 0x3D,
};

enum CommandBit : u16 {  // 6.2.2
  IoSpace = 1 << 0,
  MemorySpace = 1 << 1,
  BusMaster = 1 << 2,
  ParityErrorResponse = 1 << 6,
  SerrEnable = 1 << 8,
  InterruptDisable = 1 << 10,
};

enum StatusBit : u16 {  // 6.2.3
  CapabilitiesList = 1 << 4,
};

enum BaseAddressBit : u8 {  // 6.2.5.1
  IoIndicator = 1 << 0,
  Type64 = 1 << 2,
  Prefetchable = 1 << 3,
};

inline constexpr u8 msix_capability_id{0x11};  // 6.8.2

enum MsixControlBit : u16 {
  MsixTableSizeMask = 0x7FF,
  MsixFunctionMask = 1 << 14,
  MsixEnable = 1 << 15,
};

inline constexpr u32 msix_entry_bytes{16};
inline constexpr u32 msix_vector_masked{1};

}  // namespace vireo::bus::pci_spec
