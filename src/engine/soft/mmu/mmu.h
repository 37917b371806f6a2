#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "memory/guest_memory.h"
#include "vocab/numbers.h"

namespace vireo::engine::soft {

enum class Access : u8 { read, write, execute };

/// Whose rights an access has. Under SMAP, supervisor code reaches user pages only with RFLAGS.AC
/// (supervisor_ac); implicit accesses (descriptor tables, TSS, interrupt stacks) are always `supervisor`.
/// Without SMAP both are equal.
enum class Rights : u8 { user, supervisor, supervisor_ac };

/// What of CR0, CR4 and EFER decides translation (SDM vol. 3, 4.1).
struct PagingMode {
  enum class Format : u8 { none, two_level, pae, four_level };
  Format format{};
  bool write_protect{}, no_execute{}, smep{}, smap{}, page_size_extension{}, global_pages{}, pcid{};
  bool operator==(PagingMode const&) const = default;
};

/// Translation of one vCPU: page tables behind a software TLB. Used by the vCPU's thread only; other vCPUs may
/// change page tables in guest memory at any time, and accessed and dirty flags are set atomically against
/// them.
///
/// First level: per Rights a direct-mapped table whose tags hold the page and, in the low 12 bits, a
/// generation; a flush takes a new generation instead of clearing, and a return to a recent PCID takes its
/// generation up again. Second level: 4-way, tagged by address space, where global pages survive.
class Mmu {
 public:
  static constexpr u32 table_entries{4096};

  /// A tag matches for an access that lies in this page, has these Rights and needs no slow path: RAM (or ROM
  /// for read and execute), for write also dirty.
  struct Entry {
    u64 read{}, write{}, execute{};
    u64 addend{};  // host address - linear address
  };
  struct Translation {
    u64 physical{};
    std::byte* host{};  // null: MMIO, nothing, or a write to ROM
  };

  Mmu(memory::GuestMemory& memory, u8 physical_address_bits, bool gigabyte_pages);

  // ---- control registers ----
  /// Takes over the mode; flushes everything when it changed. `cr3` is for the PDPTEs when PAE paging begins.
  void set_mode(PagingMode const& mode, u64 cr3);
  PagingMode const& mode() const { return mode_; }
  /// MOV to CR3 (without bit 63): switches address space. `keep` is bit 63: do not flush this PCID.
  /// PAE PDPTEs must have been checked by pdptes_valid.
  void set_cr3(u64 cr3, bool keep);
  /// False when loading PDPTEs from here must give #GP(0) (SDM vol. 3, 4.4.1).
  bool pdptes_valid(u64 cr3) const;

  // ---- invalidation (SDM vol. 3, 4.10.4.1) ----
  void flush_all();             // also global pages, all PCIDs
  void flush_non_global();      // all PCIDs
  void flush_page(u64 linear);  // INVLPG: this PCID and global
  void flush_pcid(u16 pcid);    // without global pages
  void flush_page_pcid(u64 linear, u16 pcid);

  // ---- translation ----
  /// Throws #PF. `linear` is canonical. Fills the TLB.
  Translation translate(u64 linear, Access access, Rights rights);

  /// table_entries of them, by linear page number modulo table_entries; they never move.
  Entry const* table(Rights rights) const { return tables_[static_cast<u8>(rights)].entries.data(); }
  Entry const& entry(Rights rights, u64 linear) const {
    return tables_[static_cast<u8>(rights)].entries[(linear >> 12) & (table_entries - 1)];
  }
  /// The tag that an entry must have for an access whose last byte is at `last`.
  u64 tag(u64 last) const { return (last & ~u64{0xfff}) | generation_; }

  u8 physical_address_bits() const { return physical_address_bits_; }
  /// Host address of physical memory, or null; for page tables and the like.
  std::byte* host(u64 physical, bool for_write);

 private:
  struct Table {
    std::array<Entry, table_entries> entries;
  };
  enum Flag : u32 { writable = 1, user = 2, no_execute = 4, dirty = 8, global = 16, host_writable = 32 };
  struct Cached {  // second level
    u64 page{~u64{}};
    u64 stamp{};
    std::byte* host{};
    u64 physical_and_flags{};  // Flag bits lie below the page number

    u64 physical() const { return physical_and_flags & ~u64{0xfff}; }
    u32 flags() const { return physical_and_flags & 0xfff; }
  };
  static_assert(sizeof(Cached) == 32);
  static constexpr u32 sets{2048}, ways{4};
  struct Space {  // an address space whose translations may still be cached
    u16 pcid{};
    u16 generation{};  // 0: no first level entries
    u64 stamp{};       // 0: slot unused
    u64 last_used{};
  };

  template <typename PageTableEntry>
  Cached walk(u64 linear, Access access, Rights rights);
  bool permits(u32 flags, Access access, Rights rights) const;
  [[noreturn]] void page_fault(u64 linear, Access access, Rights rights, u32 code);
  Cached* find_cached(u64 linear);
  Cached& insert(Cached const& cached);
  void fill(u64 linear, Rights rights, Cached const& cached);
  void note_large_page(u64 linear, u64 size);
  void drop_page(u64 linear);
  void drop_first_level(u64 linear);
  u16 new_generation();
  Space& space_for(u16 pcid);
  void enter(Space& space);
  void load_pdptes(u64 cr3);

  memory::GuestMemory& memory_;
  u8 physical_address_bits_;
  bool gigabyte_pages_;
  PagingMode mode_{};
  u64 generation_{1};
  std::unique_ptr<std::array<Table, 3>> storage_;
  Table* tables_;
  std::unique_ptr<std::array<std::array<Cached, ways>, sets>> cached_;
  std::array<u8, sets> next_way_{};
  std::array<Space, 8> spaces_{};
  Space* space_{};
  u64 clock_{};
  u64 last_stamp_{};
  u64 global_stamp_{};
  u16 last_generation_{};
  u64 root_{};
  std::array<u64, 4> pdpte_{};
  // A bit per 2 MiB and per 1 GiB of linear address, hashed: there may be a large page.
  static constexpr u64 large_bits{65536}, gigabyte_bits{4096};
  std::array<u64, large_bits / 64> large_pages_{};
  std::array<u64, gigabyte_bits / 64> gigabyte_pages_seen_{};
  bool any_large_page_{};
  memory::GuestMemory::Region region_{};  // where the last lookup was
};

}  // namespace vireo::engine::soft
