#include "machine/devices.h"

#include <fmt/format.h>

#include <algorithm>

#include "bus/address_plan.h"
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
#include "device/pci/pci_bus.h"
#include "host/clock.h"
#include "machine/pci_devices.h"

namespace vireo::machine {
namespace {

namespace plan = bus::address_plan;

/// The 8259's output reaches the bootstrap processor's LINT0.
class ExtintLine final : public bus::IrqLine {
 public:
  explicit ExtintLine(engine::Engine& engine) : engine_{engine} {}
  void set(bool high) override { engine_.set_extint(high); }

 private:
  engine::Engine& engine_;
};

class EngineMsi final : public bus::MsiSink {
 public:
  explicit EngineMsi(engine::Engine& engine) : engine_{engine} {}
  void signal(u64 address, u32 data) override { engine_.deliver_msi(address, data); }

 private:
  engine::Engine& engine_;
};

device::RtcConfig rtc_config(memory::GuestMemory const& memory) {
  auto config = device::RtcConfig{.wall_clock_ns = host::wall_clock_ns};
  for (auto const& region : memory.regions()) {
    (region.range.start.value == 0 ? config.low_memory : config.high_memory) += region.range.length;
  }
  return config;
}

constexpr u8 isa_timer{0};  // the router turns it into GSI 2
constexpr u8 hpet_first_routed_gsi{20};

device::HpetWiring hpet_wiring(device::IrqRouter& router) {
  auto wiring = device::HpetWiring{.legacy_timer = &router.attach(isa_timer), .legacy_rtc = &router.attach(plan::gsi_rtc)};
  auto gsi = hpet_first_routed_gsi;
  for (auto& line : wiring.routed) line = &router.attach(gsi++);
  wiring.set_legacy_replaced = [&router](bool replaced) { router.set_legacy_replaced(replaced); };
  return wiring;
}

}  // namespace

/// The fixed part of every machine. Members are in the order in which they depend on each other.
struct Devices::Chipset {
  Chipset(bus::Executor& executor, memory::GuestMemory& memory, engine::Engine& engine, bus::MachineControl& control,
          bus::AddressMap& map)
      : extint{engine},
        msi{engine},
        pic{extint},
        ioapic{msi},
        router{pic, ioapic},
        pci_bus{map, msi, [this](u8 gsi) -> bus::IrqLine& { return router.attach(gsi); }},
        host_bridge{pci_bus, control},
        isa_bridge{pci_bus},
        pit{executor, router.attach_legacy(isa_timer)},
        rtc{rtc_config(memory), executor, router.attach_legacy(plan::gsi_rtc)},
        hpet{hpet_wiring(router), executor, msi},
        com1{plan::com1, router.attach(plan::gsi_com1)},
        com2{plan::com2, router.attach(plan::gsi_com2)},
        i8042{router.attach(plan::gsi_keyboard), control},
        acpi_pm{executor, router.attach(plan::gsi_sci), control} {}

  ExtintLine extint;
  EngineMsi msi;
  device::Pic pic;
  device::Ioapic ioapic;
  device::IrqRouter router;
  device::PciBus pci_bus;
  device::HostBridge host_bridge;
  device::IsaBridge isa_bridge;
  device::Pit pit;
  device::Rtc rtc;
  device::Hpet hpet;
  device::Uart com1, com2;
  device::I8042 i8042;
  device::AcpiPm acpi_pm;
};

Devices::Devices() = default;
Devices::~Devices() {
  if (chipset_) stop();
}

Result<std::unique_ptr<Devices>> Devices::create(MachineConfig const& config, bus::Executor& executor,
                                                 memory::GuestMemory& memory, engine::Engine& engine,
                                                 bus::MachineControl& control) {
  auto devices = std::unique_ptr<Devices>{new Devices};
  devices->chipset_ = std::make_unique<Chipset>(executor, memory, engine, control, devices->address_map_);
  auto& chipset = *devices->chipset_;
  // The one list of devices: lines and interrupt controllers first, the host bridge last, since it maps all BARs.
  devices->all_ = {{"pic", &chipset.pic},         {"ioapic", &chipset.ioapic}, {"irq-router", &chipset.router},
                   {"pit", &chipset.pit},         {"rtc", &chipset.rtc},       {"hpet", &chipset.hpet},
                   {"com1", &chipset.com1},       {"com2", &chipset.com2},     {"i8042", &chipset.i8042},
                   {"acpi-pm", &chipset.acpi_pm}, {"isa-bridge", &chipset.isa_bridge}};
  devices->pci_ = TRY(create_pci_devices(config, executor, memory));
  auto slot = first_pci_slot;
  for (auto& [name, device] : devices->pci_) {
    if (!chipset.pci_bus.plug({slot++, 0}, *device->pci())) {
      return fail(Errc::invalid, fmt::format("{}: too many PCI devices", name));
    }
    devices->all_.push_back({name, device.get()});
  }
  devices->all_.push_back({"host-bridge", &chipset.host_bridge});
  for (auto const& [name, device] : devices->all_) devices->map(*device);
  return devices;
}

void Devices::map(bus::Device& device) {
  if (auto* const pio = device.pio()) {
    for (auto const range : pio->ports()) address_map_.map_pio(range, *pio);
  }
  if (auto* const mmio = device.mmio()) {
    for (auto const range : mmio->ranges()) address_map_.map_mmio(range, *mmio);
  }
}

void Devices::start() {
  for (auto const& [name, device] : all_) device->start();
}
void Devices::stop() {
  for (auto const& [name, device] : all_) device->stop();
}
void Devices::reset() {
  for (auto const& [name, device] : all_) device->reset();
}

device::SerialPort& Devices::console() { return chipset_->com1; }
void Devices::press_power_button() { chipset_->acpi_pm.press_power_button(); }
int Devices::acknowledge_pic() { return chipset_->pic.acknowledge(); }
void Devices::end_of_interrupt(u8 vector) { chipset_->ioapic.end_of_interrupt(vector); }

}  // namespace vireo::machine
