#include "firmware/linux_loader.h"

#include <fmt/format.h>

#include <algorithm>

#include "firmware/boot_layout.h"

namespace vireo::firmware {

Result<Gpa> place_high(MemoryMap const& map, u64 size, u64 floor, u64 limit) {
  for (auto entry = map.rbegin(); entry != map.rend(); ++entry) {
    if (entry->kind != MemoryKind::ram) continue;
    auto const start = std::max(entry->range.start.value, floor);
    auto const end = std::min(entry->range.end().value, limit);
    if (end <= start || end - start < size) continue;
    auto const at = align_down(end - size, page_size);
    if (at >= start) return Gpa{at};
  }
  return fail(Errc::no_space, fmt::format("no room for the initrd of {} MiB: give the machine more memory",
                                          align_up(size, MiB) / MiB));
}

Result<> store_command_line(memory::GuestMemory& memory, std::string const& text) {
  if (text.size() + 1 > command_line_limit) {
    return fail(Errc::invalid, fmt::format("the kernel command line has {} bytes, {} are the most", text.size(),
                                           command_line_limit - 1));
  }
  return memory.write(command_line_at, std::as_bytes(std::span{text.c_str(), text.size() + 1}));
}

Result<BootEntry> load_linux(memory::GuestMemory& memory, LinuxImage const& image, MemoryMap const& map,
                             Gpa rsdp) {
  static constexpr char elf_magic[]{0x7f, 'E', 'L', 'F'};
  auto const is_elf = image.kernel.size() >= 4 && std::memcmp(image.kernel.data(), elf_magic, 4) == 0;
  return is_elf ? load_pvh(memory, image, map, rsdp) : load_bzimage(memory, image, map, rsdp);
}

}  // namespace vireo::firmware
