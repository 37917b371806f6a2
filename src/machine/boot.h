#pragma once

#include <optional>

#include "firmware/boot_entry.h"
#include "firmware/memory_map.h"
#include "host/file.h"
#include "machine/config.h"
#include "memory/guest_memory.h"
#include "vocab/result.h"

namespace vireo::machine {

/// Adds the RAM of a machine: below the PCI hole and, for the rest, from 4 GiB.
Result<> add_ram(memory::GuestMemory& memory, u64 bytes);
/// What the guest is told of its memory.
firmware::MemoryMap memory_map(memory::GuestMemory const& memory);

/// Kernel and initrd of a direct boot: the files are held open, so that a reset can load them again.
class BootMedia {
 public:
  static Result<BootMedia> open(MachineConfig const& config);
  /// Clears RAM's boot areas by loading everything anew. `rsdp` as in firmware::load_linux.
  Result<firmware::BootEntry> load(memory::GuestMemory& memory, Gpa rsdp) const;

 private:
  std::optional<host::File> kernel_, initrd_;
  std::string command_line_;
  bool vga_{};
};

}  // namespace vireo::machine
