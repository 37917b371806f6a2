#include "machine/devices.h"

#include <fmt/format.h>

#include "device/chipset/chipset.h"
#include "device/vga/vga.h"
#include "host/clock.h"

namespace vireo::machine {
namespace {

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
  for (auto const& range : memory.ram()) {
    (range.start.value == 0 ? config.low_memory : config.high_memory) += range.length;
  }
  return config;
}

}  // namespace

/// What does not vary between machines, with its wires into the engine.
struct Devices::Fixed {
  Fixed(bus::Executor& executor, memory::GuestMemory& memory, engine::Engine& engine,
        bus::MachineControl& control, bus::AddressMap& map, FirmwareDevices* firmware,
        bus::MemoryWindows& windows)
      : extint{engine},
        msi{engine},
        chipset{rtc_config(memory),
                {executor, map, msi, control, extint, firmware != nullptr ? &firmware->shadow() : nullptr,
                 &windows}} {}

  ExtintLine extint;
  EngineMsi msi;
  device::Chipset chipset;
};

Devices::Devices() = default;
Devices::~Devices() {
  if (fixed_) stop();
}

Result<std::unique_ptr<Devices>> Devices::create(MachineConfig const& config, bus::Executor& executor,
                                                 memory::GuestMemory& memory, engine::Engine& engine,
                                                 bus::MachineControl& control, bus::MemoryWindows& windows) {
  auto devices = std::unique_ptr<Devices>{new Devices};
  devices->pci_ = TRY(create_pci_devices(config, executor, memory, control));
  if (config.firmware != "linux" || has_vga(config)) {
    windows.set(bus::WindowLayer::legacy_video, {{device::Vga::legacy_range}});
  }
  if (config.firmware != "linux") {
    devices->firmware_ = TRY(FirmwareDevices::create(config, memory, windows));
    devices->address_map_.map_mmio(device::ShadowMemory::range, devices->firmware_->shadow());
    for (auto const& [name, device] : devices->firmware_->devices()) {
      devices->map(*device);
      devices->all_.push_back({name, device});
    }
  }
  devices->fixed_ = std::make_unique<Fixed>(executor, memory, engine, control, devices->address_map_,
                                            devices->firmware_.get(), windows);
  auto& chipset = devices->fixed_->chipset;
  auto slot = first_pci_slot;
  for (auto const& [name, device] : devices->pci_.devices) {
    if (!chipset.pci_bus().plug({slot++, 0}, *device->pci())) {
      return fail(Errc::invalid, fmt::format("{}: too many PCI devices", name));
    }
    devices->map(*device);
    devices->all_.push_back({name, device.get()});
  }
  // The chipset goes last: its host bridge maps the BARs of all others.
  for (auto const& [name, device] : chipset.devices()) devices->all_.push_back({std::string{name}, device});
  return devices;
}

void Devices::map(bus::Device& device) {
  if (auto* const pio = device.pio(); pio != nullptr) {
    for (auto const& range : pio->ports()) address_map_.map_pio(range, *pio);
  }
  if (auto* const mmio = device.mmio(); mmio != nullptr) {
    for (auto const& range : mmio->ranges()) address_map_.map_mmio(range, *mmio);
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

device::SerialPort& Devices::console() { return fixed_->chipset.com1(); }
device::SerialPort* Devices::virtio_console() { return pci_.console; }
bool Devices::type(std::span<u8 const> scan_codes) { return fixed_->chipset.keyboard().type(scan_codes); }
void Devices::press_power_button() { fixed_->chipset.power().press_power_button(); }
int Devices::acknowledge_pic() { return fixed_->chipset.pic().acknowledge(); }
void Devices::end_of_interrupt(u8 vector) { fixed_->chipset.ioapic().end_of_interrupt(vector); }

}  // namespace vireo::machine
