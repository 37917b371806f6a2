#pragma once

#include <string>

#include "firmware/boot_entry.h"
#include "firmware/memory_map.h"
#include "memory/guest_memory.h"
#include "vocab/bytes.h"
#include "vocab/result.h"

namespace vireo::firmware {

/// What a direct boot loads. The bytes need only live during the call.
struct LinuxImage {
  ConstBytes kernel;  // bzImage (64-bit boot protocol) or an ELF vmlinux with a PVH entry note
  ConstBytes initrd;  // may be empty
  std::string command_line;
  bool vga_text{};  // a VGA shows 80 by 25 characters
};

/// Puts kernel, initrd, command line and boot data into guest memory. Errors say what of the image is wrong, or
/// how much memory would be needed. `rsdp` is the address of the ACPI root pointer, 0 for none.
Result<BootEntry> load_linux(memory::GuestMemory& memory, LinuxImage const& image, MemoryMap const& map,
                             Gpa rsdp);

}  // namespace vireo::firmware
