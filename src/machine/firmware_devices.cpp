#include "machine/firmware_devices.h"

#include <fmt/format.h>

#include "bus/address_plan.h"
#include "device/fw_cfg/spec.h"
#include "firmware/firmware_files.h"
#include "machine/pci_devices.h"

namespace vireo::machine {
namespace {

constexpr auto seabios_path = "/usr/share/seabios/bios-256k.bin";
constexpr u64 smallest_rom{128 * KiB}, largest_rom{16 * MiB};

std::vector<u8> little_endian(u64 value, u32 bytes) {
  auto result = std::vector<u8>(bytes);
  std::memcpy(result.data(), &value, bytes);
  return result;
}

constexpr auto vgabios_path = "/usr/share/seabios/vgabios-stdvga.bin";
constexpr auto vgabios_name = "pci1234,1111.rom";  // where SeaBIOS looks for the ROM of that function

Result<std::vector<u8>> read_vgabios() {
  auto const file = host::File::open(vgabios_path, {});
  if (!file)
    return fail(Errc::not_found, fmt::format("{} is missing; install the package seabios", vgabios_path));
  auto bytes = std::vector<u8>(std::min<u64>(TRY(file->size()), 64 * KiB));
  TRY(file->read(0, std::as_writable_bytes(std::span{bytes})));
  return bytes;
}

/// The image, which ends at 4 GiB: the processor begins 16 bytes before its end.
Result<GpaRange> load_rom(std::string const& firmware, memory::GuestMemory& memory) {
  auto const path = firmware == "bios" ? std::string{seabios_path} : firmware;
  auto const file = host::File::open(path, {});
  if (!file && firmware == "bios" && file.error().code() == Errc::not_found) {
    return fail(Errc::not_found,
                fmt::format("{} is missing; install the package seabios, or name a BIOS image", path));
  }
  if (!file) return std::unexpected{file.error()};
  auto bytes = std::vector<std::byte>(TRY(file->size()));
  if (bytes.size() < smallest_rom || bytes.size() > largest_rom || bytes.size() % (64 * KiB) != 0) {
    return fail(Errc::invalid,
                fmt::format("{}: {} bytes; a firmware image has 128 KiB to 16 MiB, in steps of 64 KiB", path,
                            bytes.size()));
  }
  TRY(file->read(0, bytes));
  auto const range = GpaRange{Gpa{4 * GiB - bytes.size()}, bytes.size()};
  TRY(memory.add(range, memory::RegionKind::rom));
  TRY(memory.load(range.start, bytes));
  return range;
}

}  // namespace

Result<std::unique_ptr<FirmwareDevices>> FirmwareDevices::create(MachineConfig const& config,
                                                                 memory::GuestMemory& memory,
                                                                 bus::MemoryWindows& windows) {
  auto const rom = TRY_IN("firmware", load_rom(config.firmware, memory));
  auto made = std::unique_ptr<FirmwareDevices>{new FirmwareDevices{memory, windows, rom}};
  if (!config.firmware_log.empty()) {
    made->log_ = TRY_IN("firmware_log", host::File::open(config.firmware_log,
                                                         {.write = true, .create = true, .truncate = true}));
  }
  TRY_IN("firmware", made->describe(config, memory));
  return made;
}

FirmwareDevices::FirmwareDevices(memory::GuestMemory& memory, bus::MemoryWindows& windows, GpaRange rom)
    : shadow_{memory, windows, rom}, fw_cfg_{memory}, debug_port_{[this](std::string_view line) {
        if (!log_) return;
        auto const text = std::string{line} + '\n';
        if (log_.write(log_bytes_, std::as_bytes(std::span{text}))) log_bytes_ += text.size();
      }} {}

Result<> FirmwareDevices::describe(MachineConfig const& config, memory::GuestMemory const& memory) {
  using namespace device::fw_cfg_spec;
  auto low = u64{0};
  for (auto const& range : memory.ram()) {
    if (range.start.value == 0) low = range.length;
  }
  fw_cfg_.add(RamSize, little_endian(low, 8));
  fw_cfg_.add(Graphics, little_endian(0, 2));
  fw_cfg_.add(CpuCount, little_endian(config.cpus, 2));
  fw_cfg_.add(MaxCpus, little_endian(config.cpus, 2));
  fw_cfg_.add(BootMenu, little_endian(0, 2));
  auto slots = std::vector<u8>{};
  for (auto i = std::size_t{0}; i < config.disks.size(); ++i)
    slots.push_back(static_cast<u8>(first_pci_slot + i));
  auto files = firmware::acpi_files({.vcpus = config.cpus, .vga = has_vga(config)});
  files.push_back(firmware::memory_map_file(memory));
  files.push_back(firmware::boot_order_file(slots));
  files.push_back(firmware::number_file("etc/sercon-port", bus::address_plan::com1));
  if (has_vga(config)) files.push_back({vgabios_name, TRY(read_vgabios())});
  for (auto& [name, content] : files) TRY(fw_cfg_.add_file(name, std::move(content)));
  return {};
}

}  // namespace vireo::machine
