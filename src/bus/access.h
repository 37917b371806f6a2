#pragma once

#include <span>

#include "vocab/numbers.h"

namespace vireo::bus {

struct PortRange {
  u16 first{};
  u16 count{};
};

/// Registers behind I/O ports. Width is 1, 2 or 4 bytes. What no register answers reads as all ones.
class PioTarget {
 public:
  virtual ~PioTarget() = default;
  /// Constant for the life of the device.
  virtual std::span<PortRange const> ports() const = 0;
  virtual u32 read_port(u16 port, u8 width) = 0;
  virtual void write_port(u16 port, u8 width, u32 value) = 0;
};

/// Registers in the physical address space. Width is 1, 2, 4 or 8 bytes; offset counts from the range's start.
class MmioTarget {
 public:
  virtual ~MmioTarget() = default;
  /// Constant for the life of the device (PCI BARs move and are not in this list).
  virtual std::span<GpaRange const> ranges() const = 0;
  virtual u64 read_mmio(Gpa at, u8 width) = 0;
  virtual void write_mmio(Gpa at, u8 width, u64 value) = 0;
};

}  // namespace vireo::bus
