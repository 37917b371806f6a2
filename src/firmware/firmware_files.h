#pragma once

#include <string>
#include <vector>

#include "firmware/acpi/acpi.h"

namespace vireo::firmware {

/// A file that firmware reads through fw_cfg.
struct FirmwareFile {
  std::string name;
  std::vector<u8> content;
};

/// The ACPI tables with the script by which SeaBIOS and OVMF place them (QEMU's bios-linker-loader).
std::vector<FirmwareFile> acpi_files(AcpiConfig const& config);

/// "etc/e820": the RAM of the machine.
FirmwareFile memory_map_file(memory::GuestMemory const& memory);

/// "bootorder": PCI slots of disks, the first to try first.
FirmwareFile boot_order_file(std::vector<u8> const& disk_slots);

/// A number that SeaBIOS reads from a file of its own.
FirmwareFile number_file(std::string name, u64 value);

}  // namespace vireo::firmware
