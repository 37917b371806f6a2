#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "firmware/boot_layout.h"
#include "firmware/linux_spec.h"

namespace vireo::firmware {
namespace {

using namespace linux_boot;

// Selectors that the 64-bit boot protocol asks for: __BOOT_CS and __BOOT_DS.
constexpr u16 boot_code_selector{0x10};
constexpr u16 boot_data_selector{0x18};
constexpr std::array<u64, 4> boot_gdt{0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};

Result<SetupHeader> read_header(ConstBytes kernel) {
  if (kernel.size() < setup_header_offset + sizeof(SetupHeader)) {
    return fail(Errc::invalid, "the kernel file is too short for a Linux bzImage");
  }
  auto header = load_le<SetupHeader>(kernel.data() + setup_header_offset);
  if (header.boot_flag != boot_flag_magic || header.header != header_magic) {
    return fail(Errc::invalid, "the kernel is neither a Linux bzImage nor an ELF image with a PVH entry");
  }
  if (header.version < minimum_version || (header.xloadflags & kernel_64) == 0) {
    return fail(
        Errc::unsupported,
        fmt::format("the kernel speaks boot protocol {}.{} without a 64-bit entry; {}.{} "
                    "(Linux 3.8) or later built for x86-64 is needed",
                    header.version >> 8, header.version & 0xff, minimum_version >> 8, minimum_version & 0xff));
  }
  if (header.setup_sects == 0) header.setup_sects = 4;
  return header;
}

/// Identity map of the first 4 GiB with 2 MiB pages.
Result<> store_page_tables(memory::GuestMemory& memory) {
  constexpr u64 present_writable{3}, large{0x80};
  auto tables = std::vector<u64>(6 * 512);
  auto const at = [](u64 index) { return page_table_at.value + index * page_size; };
  tables[0] = at(1) | present_writable;
  for (auto i = u64{0}; i < 4; ++i) tables[512 + i] = at(2 + i) | present_writable;
  for (auto i = u64{0}; i < 4 * 512; ++i) tables[2 * 512 + i] = i * 2 * MiB | present_writable | large;
  return memory.write(page_table_at, std::as_bytes(std::span{tables}));
}

Result<> check_fits(MemoryMap const& map, u64 start, u64 size) {
  auto const fits = std::ranges::any_of(map, [&](MemoryMapEntry const& entry) {
    return entry.kind == MemoryKind::ram && entry.range.contains(Gpa{start}, size);
  });
  if (fits) return {};
  return fail(Errc::no_space, fmt::format("the kernel needs memory up to {} MiB: give the machine more",
                                          align_up(start + size, MiB) / MiB));
}

void fill_e820(std::vector<std::byte>& params, MemoryMap const& map) {
  auto const count = std::min<std::size_t>(map.size(), e820_max_entries);
  params[e820_entries_offset] = static_cast<std::byte>(count);
  for (auto i = std::size_t{0}; i < count; ++i) {
    auto const entry = E820Entry{map[i].range.start.value, map[i].range.length, static_cast<u32>(map[i].kind)};
    store_le(params.data() + e820_table_offset + i * sizeof entry, entry);
  }
}

}  // namespace

Result<BootEntry> load_bzimage(memory::GuestMemory& memory, LinuxImage const& image, MemoryMap const& map,
                               Gpa rsdp) {
  auto header = TRY(read_header(image.kernel));
  auto const setup_bytes = (u64{header.setup_sects} + 1) * 512;
  if (image.kernel.size() <= setup_bytes)
    return fail(Errc::corrupt, "the kernel file ends inside its setup code");
  auto const code = image.kernel.subspan(setup_bytes);
  auto const load_at = header.pref_address;
  auto const needed = std::max<u64>(header.init_size, code.size());
  TRY(check_fits(map, load_at, needed));
  TRY(memory.write(Gpa{load_at}, code));

  if (image.command_line.size() > header.cmdline_size) {
    return fail(Errc::invalid, fmt::format("the kernel command line has {} bytes, this kernel takes {}",
                                           image.command_line.size(), u32{header.cmdline_size}));
  }
  TRY(store_command_line(memory, image.command_line));
  header.type_of_loader = 0xff;
  header.loadflags = static_cast<u8>(header.loadflags | loaded_high);
  header.cmd_line_ptr = static_cast<u32>(command_line_at.value);
  auto params = std::vector<std::byte>(boot_params_size);
  if (!image.initrd.empty()) {
    auto const above_4g = (header.xloadflags & can_be_loaded_above_4g) != 0;
    auto const limit = above_4g ? 4 * GiB : u64{header.initrd_addr_max} + 1;
    auto const at = TRY(place_high(map, image.initrd.size(), load_at + needed, limit));
    TRY(memory.write(at, image.initrd));
    header.ramdisk_image = static_cast<u32>(at.value);
    header.ramdisk_size = static_cast<u32>(image.initrd.size());
    store_le(params.data() + ext_ramdisk_image_offset, static_cast<u32>(at.value >> 32));
    store_le(params.data() + ext_ramdisk_size_offset, static_cast<u32>(image.initrd.size() >> 32));
  }
  if (image.vga_text) {
    store_le(params.data(),
             ScreenInfo{.mode = 3, .columns = 80, .ega_bx = 3, .lines = 25, .is_vga = 1, .points = 16});
  }
  store_le(params.data() + setup_header_offset, header);
  store_le(params.data() + acpi_rsdp_addr_offset, rsdp.value);
  fill_e820(params, map);
  TRY(memory.write(boot_params_at, params));
  TRY(memory.write(gdt_at, std::as_bytes(std::span{boot_gdt})));
  TRY(store_page_tables(memory));
  return BootEntry{.mode = BootEntry::Mode::long64,
                   .rip = load_at + entry_64_offset,
                   .argument = boot_params_at.value,
                   .page_table = page_table_at.value,
                   .gdt = gdt_at.value,
                   .gdt_limit = sizeof boot_gdt - 1,
                   .code_selector = boot_code_selector,
                   .data_selector = boot_data_selector};
}

}  // namespace vireo::firmware
