#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "bus/address_map.h"
#include "bus/address_plan.h"
#include "bus/memory_windows.h"
#include "bus/pci.h"

namespace vireo::device {

/// PCI bus 0: which function answers at which address, and where its BARs are mapped. The host bridge drives
/// it.
class PciBus {
 public:
  /// `attach_line` makes a new wire into a GSI. `memory` shows the BARs that are plain memory; null: those are
  /// reached through their functions like others.
  PciBus(bus::AddressMap& map, bus::MsiSink& msi, std::function<bus::IrqLine&(u8 gsi)> attach_line,
         bus::MemoryWindows* memory);
  ~PciBus();

  /// Plugs a function in, before the machine starts. It must outlive this. False: the place is taken or does
  /// not exist.
  bool plug(bus::PciAddress at, bus::PciFunction& function);

  /// Configuration space of bus 0; what is not there reads as all ones. `offset` is 0..4095.
  u32 read_config(bus::PciAddress at, u16 offset, u8 width) const;
  void write_config(bus::PciAddress at, u16 offset, u8 width, u32 value);

  /// Maps all BARs anew from what the configuration spaces say: after a reset or restore of the functions.
  void remap();

 private:
  struct Slot {
    bus::PciAddress at;
    bus::PciFunction* function;
  };
  class Window;  // one mapped BAR

  bus::PciFunction* find(bus::PciAddress at) const;
  void map_bar(bus::PciFunction& function, u8 index);
  void show_memory();

  bus::AddressMap& map_;
  bus::MsiSink& msi_;
  std::function<bus::IrqLine&(u8)> attach_line_;
  std::vector<Slot> slots_;
  std::vector<std::unique_ptr<Window>> windows_;
  bus::MemoryWindows* memory_;
  std::vector<memory::GuestMemory::Window> shown_;
};

}  // namespace vireo::device
