#pragma once

#include "firmware/linux_loader.h"

namespace vireo::firmware {

/// Where boot data lies below 640 KiB. The kernel copies all of it before it uses that memory itself.
inline constexpr Gpa gdt_at{0x500};
inline constexpr Gpa pvh_info_at{0x6000};
inline constexpr Gpa boot_params_at{0x7000};
inline constexpr Gpa page_table_at{0x9000};  // PML4, one PDPT, four page directories: 24 KiB
inline constexpr Gpa command_line_at{0x20000};
inline constexpr u64 command_line_limit{0x10000};

/// Highest page-aligned place below `limit` inside RAM for `size` bytes that does not reach below `floor`.
Result<Gpa> place_high(MemoryMap const& map, u64 size, u64 floor, u64 limit);
/// Writes the command line with its terminating zero.
Result<> store_command_line(memory::GuestMemory& memory, std::string const& text);

Result<BootEntry> load_bzimage(memory::GuestMemory& memory, LinuxImage const& image, MemoryMap const& map,
                               Gpa rsdp);
Result<BootEntry> load_pvh(memory::GuestMemory& memory, LinuxImage const& image, MemoryMap const& map,
                           Gpa rsdp);

}  // namespace vireo::firmware
