#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "firmware/boot_layout.h"
#include "firmware/linux_spec.h"

namespace vireo::firmware {
namespace {

using namespace pvh;

constexpr u16 code_selector{0x08};
constexpr u16 data_selector{0x10};
constexpr std::array<u64, 3> flat_gdt{0, 0x00cf9b000000ffff, 0x00cf93000000ffff};

/// A structure at `offset` of the file, if it lies within.
template <typename T>
std::optional<T> at_offset(ConstBytes file, u64 offset) {
  if (offset > file.size() || file.size() - offset < sizeof(T)) return {};
  return load_le<T>(file.data() + offset);
}

/// The 32-bit entry address in a PT_NOTE segment's XEN_ELFNOTE_PHYS32_ENTRY.
std::optional<u64> find_entry_note(ConstBytes file, Elf64_Phdr const& segment) {
  auto offset = segment.p_offset;
  auto const end = segment.p_offset + std::min<u64>(segment.p_filesz, file.size());
  while (offset < end) {
    auto const note = at_offset<Elf64_Nhdr>(file, offset);
    if (!note) return {};
    auto const description = offset + sizeof *note + align_up(note->n_namesz, 4);
    auto const name = at_offset<u32>(file, offset + sizeof *note);
    if (note->n_type == elf_note_phys32_entry && note->n_namesz == 4 && name == 0x006e6558 /* "Xen" */) {
      return note->n_descsz >= 8 ? at_offset<u64>(file, description)
                                 : std::optional<u64>{at_offset<u32>(file, description)};
    }
    offset = description + align_up(note->n_descsz, 4);
  }
  return {};
}

struct Loaded {
  u64 entry{};
  u64 end{};  // first byte above the image
};

Result<Loaded> load_segments(memory::GuestMemory& memory, ConstBytes file) {
  auto const header = at_offset<Elf64_Ehdr>(file, 0);
  if (!header || header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64 ||
      header->e_phentsize != sizeof(Elf64_Phdr)) {
    return fail(Errc::invalid, "the kernel is an ELF file, but not for x86-64");
  }
  auto entry = std::optional<u64>{};
  auto end = u64{0};
  for (auto i = u64{0}; i < header->e_phnum; ++i) {
    auto const segment = at_offset<Elf64_Phdr>(file, header->e_phoff + i * sizeof(Elf64_Phdr));
    if (!segment) return fail(Errc::corrupt, "the kernel's ELF program headers lie outside the file");
    if (segment->p_type == PT_NOTE && !entry) entry = find_entry_note(file, *segment);
    if (segment->p_type != PT_LOAD) continue;
    if (segment->p_offset > file.size() || segment->p_filesz > file.size() - segment->p_offset) {
      return fail(Errc::corrupt, fmt::format("ELF segment {} of the kernel lies outside the file", i));
    }
    if (memory.host(Gpa{segment->p_paddr}, std::max<u64>(segment->p_memsz, 1), true) == nullptr) {
      return fail(Errc::no_space, fmt::format("the kernel needs memory up to {} MiB: give the machine more",
                                              align_up(segment->p_paddr + segment->p_memsz, MiB) / MiB));
    }
    TRY(memory.write(Gpa{segment->p_paddr}, file.subspan(segment->p_offset, segment->p_filesz)));
    end = std::max(end, segment->p_paddr + segment->p_memsz);
  }
  if (!entry) return fail(Errc::unsupported, "the ELF kernel has no PVH entry note (CONFIG_PVH)");
  return Loaded{.entry = *entry, .end = end};
}

}  // namespace

Result<BootEntry> load_pvh(memory::GuestMemory& memory, LinuxImage const& image, MemoryMap const& map,
                           Gpa rsdp) {
  auto const loaded = TRY(load_segments(memory, image.kernel));
  TRY(store_command_line(memory, image.command_line));
  auto info = StartInfo{.magic = start_info_magic, .version = 1};
  info.cmdline_paddr = command_line_at.value;
  info.rsdp_paddr = rsdp.value;
  auto module = ModuleListEntry{};
  if (!image.initrd.empty()) {
    auto const at = TRY(place_high(map, image.initrd.size(), loaded.end, 4 * GiB));
    TRY(memory.write(at, image.initrd));
    module.paddr = at.value;
    module.size = image.initrd.size();
    info.nr_modules = 1;
    info.modlist_paddr = pvh_info_at.value + sizeof info;
  }
  auto table = std::vector<MemoryMapTableEntry>{};
  for (auto const& entry : map) {
    table.push_back({entry.range.start.value, entry.range.length, static_cast<u32>(entry.kind), 0});
  }
  info.memmap_paddr = pvh_info_at.value + sizeof info + sizeof module;
  info.memmap_entries = static_cast<u32>(table.size());
  TRY(memory.write_as(pvh_info_at, info));
  TRY(memory.write_as(pvh_info_at + sizeof info, module));
  TRY(memory.write(Gpa{info.memmap_paddr}, std::as_bytes(std::span{table})));
  TRY(memory.write(gdt_at, std::as_bytes(std::span{flat_gdt})));
  return BootEntry{.mode = BootEntry::Mode::protected32,
                   .rip = loaded.entry,
                   .argument = pvh_info_at.value,
                   .gdt = gdt_at.value,
                   .gdt_limit = sizeof flat_gdt - 1,
                   .code_selector = code_selector,
                   .data_selector = data_selector};
}

}  // namespace vireo::firmware
