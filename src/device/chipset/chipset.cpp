#include "device/chipset/chipset.h"

namespace vireo::device {

using namespace bus::address_plan;

Chipset::Chipset(RtcConfig const& config, ChipsetHost const& host)
    : pic_{host.pic_output},
      ioapic_{host.msi},
      router_{pic_, ioapic_},
      pit_{host.executor, router_.attach_legacy(0)},
      rtc_{config, host.executor, router_.attach_legacy(gsi_rtc)},
      hpet_{hpet_wiring(), host.executor, host.msi},
      com1_{bus::address_plan::com1, router_.attach(gsi_com1)},
      com2_{bus::address_plan::com2, router_.attach(gsi_com2)},
      i8042_{router_.attach(gsi_keyboard), host.control},
      acpi_pm_{host.executor, router_.attach(gsi_sci), host.control},
      pci_bus_{host.map, host.msi, [this](u8 gsi) -> bus::IrqLine& { return router_.attach(gsi); },
               host.windows},
      host_bridge_{pci_bus_, host.control, host.shadow},
      isa_bridge_{pci_bus_} {
  for (auto const& [name, device] : devices()) {
    if (auto* const pio = device->pio(); pio != nullptr) {
      for (auto const& range : pio->ports()) host.map.map_pio(range, *pio);
    }
    if (auto* const mmio = device->mmio(); mmio != nullptr) {
      for (auto const& range : mmio->ranges()) host.map.map_mmio(range, *mmio);
    }
  }
}

HpetWiring Chipset::hpet_wiring() {
  return {.legacy_timer = &router_.attach(0),
          .legacy_rtc = &router_.attach(gsi_rtc),
          .routed = {&router_.attach(20), &router_.attach(21), &router_.attach(22), &router_.attach(23)},
          .set_legacy_replaced = [this](bool replaced) { router_.set_legacy_replaced(replaced); }};
}

/// Those that drive wires come before the wires, and these before the interrupt controllers.
std::vector<Chipset::Named> Chipset::devices() {
  return {{"pit", &pit_},
          {"rtc", &rtc_},
          {"hpet", &hpet_},
          {"com1", &com1_},
          {"com2", &com2_},
          {"i8042", &i8042_},
          {"acpi_pm", &acpi_pm_},
          {"host_bridge", &host_bridge_},
          {"isa_bridge", &isa_bridge_},
          {"irq_router", &router_},
          {"pic", &pic_},
          {"ioapic", &ioapic_}};
}

}  // namespace vireo::device
