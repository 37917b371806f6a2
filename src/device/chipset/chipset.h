#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "bus/address_map.h"
#include "device/chipset/acpi_pm/acpi_pm.h"
#include "device/chipset/hpet/hpet.h"
#include "device/chipset/i8042/i8042.h"
#include "device/chipset/ioapic/ioapic.h"
#include "device/chipset/irq_router/irq_router.h"
#include "device/chipset/pic/pic.h"
#include "device/chipset/pit/pit.h"
#include "device/chipset/rtc/rtc.h"
#include "device/chipset/uart/uart.h"
#include "device/pci/host_bridge.h"

namespace vireo::device {

/// What the machine lends to its chipset; all of it outlives the chipset.
struct ChipsetHost {
  bus::Executor& executor;
  bus::AddressMap& map;
  bus::MsiSink& msi;
  bus::MachineControl& control;
  bus::IrqLine& pic_output;       // INTR of the boot processor's local APIC (LINT0)
  ShadowMemory* shadow{};         // null: there is no firmware, and its place is plain RAM
  bus::MemoryWindows* windows{};  // null: BARs are reached through their functions only
};

/// The fixed part of a PC: all devices of device/chipset and device/pci, wired and mapped.
///
/// Reset and restore the PCI functions and other devices that use its wires first, then devices() in order,
/// then the vCPUs. Start devices() last: that maps the BARs.
class Chipset {
 public:
  Chipset(RtcConfig const& config, ChipsetHost const& host);
  Chipset(Chipset const&) = delete;
  Chipset& operator=(Chipset const&) = delete;

  struct Named {
    std::string_view name;
    bus::Device* device;
  };
  std::vector<Named> devices();

  /// A new wire into ISA interrupt 0..15 or GSI 16..23.
  bus::IrqLine& attach_irq(u8 gsi) { return router_.attach(gsi); }
  PciBus& pci_bus() { return pci_bus_; }
  Pic& pic() { return pic_; }
  Ioapic& ioapic() { return ioapic_; }
  AcpiPm& power() { return acpi_pm_; }
  SerialPort& com1() { return com1_; }
  SerialPort& com2() { return com2_; }
  I8042& keyboard() { return i8042_; }

 private:
  HpetWiring hpet_wiring();

  Pic pic_;
  Ioapic ioapic_;
  IrqRouter router_;
  Pit pit_;
  Rtc rtc_;
  Hpet hpet_;
  Uart com1_;
  Uart com2_;
  I8042 i8042_;
  AcpiPm acpi_pm_;
  PciBus pci_bus_;
  HostBridge host_bridge_;
  IsaBridge isa_bridge_;
};

}  // namespace vireo::device
