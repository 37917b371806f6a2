#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bus/device.h"
#include "bus/executor.h"
#include "device/chipset/serial_backend.h"
#include "device/storage/disk_errors.h"
#include "display/screen.h"
#include "image/block_image.h"
#include "image/jobs/live_disk.h"
#include "image/throttle/throttle.h"
#include "machine/config.h"
#include "memory/guest_memory.h"
#include "vocab/result.h"

namespace vireo::machine {

struct PciDevice {
  std::string name;
  std::unique_ptr<bus::Device> device;
};
/// A disk of the machine, for those who look after it while it runs.
struct MachineDisk {
  std::string name;  // "disk0"
  DiskConfig config;
  std::shared_ptr<image::BlockImage> image;
  std::shared_ptr<image::LiveDisk> live;  // what lies below the limits
  std::shared_ptr<image::Throttle> throttle;
  std::shared_ptr<device::DiskErrors> errors;
};
struct PciDevices {
  std::vector<PciDevice> devices;  // in the order of their slots
  std::vector<MachineDisk> disks;
  device::SerialPort* console{};  // the virtio console, if there is one
  display::Screen* screen{};      // of the video card, if there is one
};

inline constexpr u8 first_pci_slot{1};  // 0 is the host bridge

/// The configuration's disks and network cards, and what every machine has: entropy and balloon. Opens and
/// locks images and forwards; errors name the key.
Result<PciDevices> create_pci_devices(MachineConfig const& config, bus::Executor& executor,
                                      memory::GuestMemory& memory, bus::MachineControl& control);

}  // namespace vireo::machine
