#include "machine/boot.h"

#include <fmt/format.h>

#include <algorithm>

#include "bus/address_plan.h"
#include "firmware/linux_loader.h"

namespace vireo::machine {
namespace {

namespace plan = bus::address_plan;

// The last KiB below 640 KiB is where BIOSes keep their extended data area; systems leave it alone.
constexpr u64 conventional_end{0x9fc00};
constexpr u64 legacy_end{0xa0000};

Result<std::optional<host::File>> open_regular(std::string const& path, char const* key) {
  if (path.empty()) return std::optional<host::File>{};
  auto file = TRY_IN(key, host::File::open(path, {}));
  if (file.kind() != host::File::Kind::regular) {
    return fail(Errc::invalid, fmt::format("{}: {} is not a regular file", key, path));
  }
  return std::optional{std::move(file)};
}

Result<std::vector<std::byte>> read_whole(std::optional<host::File> const& file, char const* key) {
  if (!file) return std::vector<std::byte>{};
  auto bytes = std::vector<std::byte>(TRY_IN(key, file->size()));
  TRY_IN(key, file->read(0, bytes));
  return bytes;
}

}  // namespace

Result<> add_ram(memory::GuestMemory& memory, u64 bytes) {
  auto const low = std::min(bytes, plan::low_ram_limit);
  TRY(memory.add({Gpa{0}, low}, memory::RegionKind::ram));
  if (bytes > low) TRY(memory.add({Gpa{plan::high_ram_start}, bytes - low}, memory::RegionKind::ram));
  return {};
}

firmware::MemoryMap memory_map(memory::GuestMemory const& memory) {
  using firmware::MemoryKind;
  auto map = firmware::MemoryMap{{{Gpa{0}, conventional_end}, MemoryKind::ram},
                                 {{Gpa{conventional_end}, legacy_end - conventional_end}, MemoryKind::reserved},
                                 {plan::acpi_tables, MemoryKind::reserved}};
  for (auto const& range : memory.ram()) {
    auto const start = std::max(range.start.value, 1 * MiB);
    map.push_back({{Gpa{start}, range.end().value - start}, MemoryKind::ram});
    if (range.start.value == 0) map.push_back({plan::ecam, MemoryKind::reserved});
  }
  return map;
}

Result<BootMedia> BootMedia::open(MachineConfig const& config) {
  auto media = BootMedia{};
  media.kernel_ = TRY(open_regular(config.kernel, "kernel"));
  media.initrd_ = TRY(open_regular(config.initrd, "initrd"));
  media.command_line_ = config.append;
  media.vga_ = has_vga(config);
  return media;
}

Result<firmware::BootEntry> BootMedia::load(memory::GuestMemory& memory, Gpa rsdp) const {
  auto const kernel = TRY(read_whole(kernel_, "kernel"));
  auto const initrd = TRY(read_whole(initrd_, "initrd"));
  auto const image =
      firmware::LinuxImage{.kernel = kernel, .initrd = initrd, .command_line = command_line_, .vga_text = vga_};
  return firmware::load_linux(memory, image, memory_map(memory), rsdp);
}

}  // namespace vireo::machine
