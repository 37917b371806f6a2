#pragma once

#include <memory>
#include <span>
#include <vector>

#include "bus/address_map.h"
#include "bus/device.h"
#include "bus/executor.h"
#include "bus/lines.h"
#include "bus/memory_windows.h"
#include "device/chipset/serial_backend.h"
#include "engine/engine.h"
#include "machine/config.h"
#include "machine/firmware_devices.h"
#include "machine/pci_devices.h"
#include "memory/guest_memory.h"
#include "vocab/result.h"

namespace vireo::machine {

/// All devices of a machine and the wires between them. Everything here runs on the executor.
class Devices {
 public:
  static Result<std::unique_ptr<Devices>> create(MachineConfig const& config, bus::Executor& executor,
                                                 memory::GuestMemory& memory, engine::Engine& engine,
                                                 bus::MachineControl& control, bus::MemoryWindows& windows);
  ~Devices();

  void start();
  void stop();
  void reset();

  bus::AddressMap& address_map() { return address_map_; }
  device::SerialPort& console();
  device::SerialPort* virtio_console();  // null: the machine has none
  std::vector<MachineDisk> const& disks() const { return pci_.disks; }
  display::Screen* screen() const { return pci_.screen; }  // null: there is none
  /// As I8042::type().
  bool type(std::span<u8 const> scan_codes);
  void press_power_button();
  int acknowledge_pic();
  void end_of_interrupt(u8 vector);

 private:
  struct Fixed;
  struct Named {
    std::string name;
    bus::Device* device;
  };

  Devices();
  void map(bus::Device& device);

  bus::AddressMap address_map_;
  PciDevices pci_;                             // plugged into fixed_, which goes first
  std::unique_ptr<FirmwareDevices> firmware_;  // null: Linux boots directly
  std::unique_ptr<Fixed> fixed_;
  std::vector<Named> all_;  // in the order of start
};

}  // namespace vireo::machine
