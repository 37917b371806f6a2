#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bus/memory_windows.h"
#include "device/chipset/debug_port.h"
#include "device/fw_cfg/fw_cfg.h"
#include "device/pci/shadow_memory.h"
#include "host/file.h"
#include "machine/config.h"

namespace vireo::machine {

/// What a machine has that begins in firmware: its ROM, the memory behind it, and the devices by which the
/// firmware learns of the rest.
class FirmwareDevices {
 public:
  /// Loads the image that the configuration names. Errors name the key.
  static Result<std::unique_ptr<FirmwareDevices>> create(MachineConfig const& config,
                                                         memory::GuestMemory& memory,
                                                         bus::MemoryWindows& windows);

  struct Named {
    std::string name;
    bus::Device* device;
  };
  std::vector<Named> devices() { return {{"fw_cfg", &fw_cfg_}, {"debug_port", &debug_port_}}; }
  device::ShadowMemory& shadow() { return shadow_; }

 private:
  FirmwareDevices(memory::GuestMemory& memory, bus::MemoryWindows& windows, GpaRange rom);
  Result<> describe(MachineConfig const& config, memory::GuestMemory const& memory);

  device::ShadowMemory shadow_;
  device::FwCfg fw_cfg_;
  device::DebugPort debug_port_;
  host::File log_;
  u64 log_bytes_{};
};

}  // namespace vireo::machine
