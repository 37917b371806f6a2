#include "firmware/firmware_files.h"

#include <fmt/format.h>

namespace vireo::firmware {
namespace {

constexpr auto script_name = "etc/table-loader";
constexpr auto root_name = "etc/acpi/rsdp";
constexpr auto tables_name = "etc/acpi/tables";

// QEMU's bios-linker-loader: entries of 128 bytes, a command and its fields.
constexpr std::size_t entry_bytes{128}, name_bytes{56};
enum Command : u32 { allocate = 1, add_pointer = 2, add_checksum = 3 };
enum Zone : u8 { high = 1, f_segment = 2 };

class Script {
 public:
  void allocate_file(std::string_view file, u32 alignment, Zone zone) {
    begin(allocate);
    name(file);
    number(alignment, 4);
    number(zone, 1);
  }
  void add_file_address(std::string_view to, u32 at, u8 bytes, std::string_view file) {
    begin(add_pointer);
    name(to);
    name(file);
    number(at, 4);
    number(bytes, 1);
  }
  void mend_checksum(std::string_view file, u32 at, u32 start, u32 length) {
    begin(add_checksum);
    name(file);
    number(at, 4);
    number(start, 4);
    number(length, 4);
  }
  std::vector<u8> take() && {
    pad();
    return std::move(bytes_);
  }

 private:
  void pad() { bytes_.resize(align_up(bytes_.size(), entry_bytes)); }
  void begin(Command command) {
    pad();
    number(command, 4);
  }
  void name(std::string_view text) {
    auto const start = bytes_.size();
    bytes_.insert(bytes_.end(), text.begin(), text.end());
    bytes_.resize(start + name_bytes);
  }
  void number(u64 value, u32 bytes) {
    for (auto i = u32{0}; i < bytes; ++i) bytes_.push_back(static_cast<u8>(value >> (8 * i)));
  }
  std::vector<u8> bytes_;
};

void append(std::vector<u8>& to, u64 value, u32 bytes) {
  for (auto i = u32{0}; i < bytes; ++i) to.push_back(static_cast<u8>(value >> (8 * i)));
}

}  // namespace

std::vector<FirmwareFile> acpi_files(AcpiConfig const& config) {
  constexpr u32 first_checksum{20},
      second_checksum{36};  // bytes of the root pointer that each covers (5.2.5.3)
  auto all = build_acpi(config, Gpa{0});
  auto script = Script{};
  script.allocate_file(root_name, 16, f_segment);
  script.allocate_file(tables_name, 64, high);
  for (auto const& each : all.pointers) script.add_file_address(tables_name, each.at, each.bytes, tables_name);
  for (auto const& each : all.checksums) script.mend_checksum(tables_name, each.at, each.start, each.length);
  script.add_file_address(root_name, AcpiTables::root_pointer, 8, tables_name);
  script.mend_checksum(root_name, 8, 0, first_checksum);
  script.mend_checksum(root_name, 32, 0, second_checksum);
  // A checksum is computed over a byte of zero in its place; the loader subtracts what it finds there.
  return {{root_name, std::move(all.root)},
          {tables_name, std::move(all.tables)},
          {script_name, std::move(script).take()}};
}

FirmwareFile memory_map_file(memory::GuestMemory const& memory) {
  auto file = FirmwareFile{"etc/e820", {}};
  for (auto const& range : memory.ram()) {
    append(file.content, range.start.value, 8);
    append(file.content, range.length, 8);
    append(file.content, 1, 4);
  }
  return file;
}

FirmwareFile boot_order_file(std::vector<u8> const& disk_slots) {
  auto text = std::string{};
  for (auto const slot : disk_slots) text += fmt::format("/pci@i0cf8/scsi@{:x}/disk@0,0\n", slot);
  auto file = FirmwareFile{"bootorder", {text.begin(), text.end()}};
  file.content.push_back(0);
  return file;
}

FirmwareFile number_file(std::string name, u64 value) {
  auto file = FirmwareFile{std::move(name), {}};
  append(file.content, value, 8);
  return file;
}

}  // namespace vireo::firmware
