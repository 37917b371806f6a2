#pragma once

#include <map>
#include <vector>

#include "bus/access.h"

namespace vireo::bus {

/// Who answers at which port and physical address. Callers hold the executor. Unclaimed reads are all ones.
class AddressMap {
 public:
  void map_pio(PortRange range, PioTarget& target);
  void unmap_pio(PortRange range);
  /// Later maps lie above earlier ones where they overlap.
  void map_mmio(GpaRange range, MmioTarget& target);
  void unmap_mmio(GpaRange range, MmioTarget& target);

  u32 read_port(u16 port,
                u8 width);  // width 1, 2, 4; an access that crosses a target's ports is split into bytes
  void write_port(u16 port, u8 width, u32 value);
  u64 read_mmio(Gpa at, u8 width);  // width 1, 2, 4, 8
  void write_mmio(Gpa at, u8 width, u64 value);

 private:
  struct MmioEntry {
    GpaRange range;
    MmioTarget* target;
  };
  PioTarget* port_target(u16 port) const;
  MmioTarget* mmio_target(Gpa at) const;

  std::vector<PioTarget*> ports_ = std::vector<PioTarget*>(0x10000);
  std::vector<MmioEntry> mmio_;  // newest last
};

}  // namespace vireo::bus
