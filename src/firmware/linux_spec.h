#pragma once

#include <cstddef>

#include "vocab/integers.h"

namespace vireo::firmware::linux_boot {

// Documentation/arch/x86/boot.rst of the Linux kernel, "The Real-Mode Kernel Header" and "64-bit Boot
// Protocol".

struct [[gnu::packed]] SetupHeader {  // at 0x1f1 of the image and of boot_params
  u8 setup_sects;
  u16 root_flags;
  u32 syssize;
  u16 ram_size, vid_mode, root_dev, boot_flag;
  u16 jump;
  u32 header;  // "HdrS"
  u16 version;
  u32 realmode_swtch;
  u16 start_sys_seg, kernel_version;
  u8 type_of_loader, loadflags;
  u16 setup_move_size;
  u32 code32_start, ramdisk_image, ramdisk_size, bootsect_kludge;
  u16 heap_end_ptr;
  u8 ext_loader_ver, ext_loader_type;
  u32 cmd_line_ptr, initrd_addr_max, kernel_alignment;
  u8 relocatable_kernel, min_alignment;
  u16 xloadflags;
  u32 cmdline_size, hardware_subarch;
  u64 hardware_subarch_data;
  u32 payload_offset, payload_length;
  u64 setup_data, pref_address;
  u32 init_size, handover_offset, kernel_info_offset;
};
static_assert(offsetof(SetupHeader, header) == 0x202 - 0x1f1);
static_assert(offsetof(SetupHeader, cmd_line_ptr) == 0x228 - 0x1f1);
static_assert(offsetof(SetupHeader, init_size) == 0x260 - 0x1f1);

inline constexpr u32 setup_header_offset{0x1f1};
inline constexpr u16 boot_flag_magic{0xaa55};
inline constexpr u32 header_magic{0x53726448};
inline constexpr u16 minimum_version{0x020c};  // xloadflags
enum LoadFlags : u8 { loaded_high = 1, can_use_heap = 0x80 };
enum XLoadFlags : u16 { kernel_64 = 1, can_be_loaded_above_4g = 2 };

struct [[gnu::packed]] E820Entry {
  u64 address, size;
  u32 type;
};

/// At the beginning of boot_params (include/uapi/linux/screen_info.h).
struct [[gnu::packed]] ScreenInfo {
  u8 cursor_x, cursor_y;
  u16 extended_memory, page;
  u8 mode, columns, flags, unused2;
  u16 ega_bx, unused3;
  u8 lines, is_vga;
  u16 points;
};
static_assert(offsetof(ScreenInfo, points) == 0x10);

/// Offsets within boot_params (arch/x86/include/uapi/asm/bootparam.h).
inline constexpr u32 acpi_rsdp_addr_offset{0x70};
inline constexpr u32 ext_ramdisk_image_offset{0xc0};
inline constexpr u32 ext_ramdisk_size_offset{0xc4};
inline constexpr u32 e820_entries_offset{0x1e8};
inline constexpr u32 e820_table_offset{0x2d0};
inline constexpr u32 e820_max_entries{128};
inline constexpr u32 boot_params_size{4096};
inline constexpr u64 entry_64_offset{0x200};

}  // namespace vireo::firmware::linux_boot

namespace vireo::firmware::pvh {

// Xen public headers: arch-x86/hvm/start_info.h; Documentation "PVH" (docs/misc/pvh.pandoc).

inline constexpr u32 elf_note_phys32_entry{18};
inline constexpr u32 start_info_magic{0x336ec578};

struct StartInfo {
  u32 magic, version, flags, nr_modules;
  u64 modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
  u32 memmap_entries, reserved;
};
static_assert(sizeof(StartInfo) == 56);
struct ModuleListEntry {
  u64 paddr, size, cmdline_paddr, reserved;
};
struct MemoryMapTableEntry {
  u64 addr, size;
  u32 type, reserved;
};

}  // namespace vireo::firmware::pvh
