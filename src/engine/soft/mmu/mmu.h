#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include "engine/soft/code_pages.h"
#include "engine/soft/interp/fault.h"
#include "engine/soft/mmu/store_log.h"
#include "engine/soft/mmu/window.h"
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

/// Hears what may make addresses of code that it remembers for a window wrong.
class MappingObserver {
 public:
  virtual ~MappingObserver() = default;
  /// An executable page may have gone from this window, or moved: forget all that was known of it.
  virtual void mappings_changed(u8 window) noexcept = 0;
};

/// Translation of one vCPU: page tables behind a software TLB. Used by the vCPU's thread only; other vCPUs may
/// change page tables in guest memory at any time, and accessed and dirty flags are set atomically against
/// them.
///
/// First level: a direct-mapped table in each window. User code has a window for each recent address space;
/// the two for supervisor code are shared by all of them and lose their non-global pages at a CR3 load. What
/// was filled stands in lists, so that nothing is ever cleared as a whole. Second level: 4-way, tagged by
/// address space, where global pages survive. Third: where the last level of page tables lies.
class Mmu {
 public:
  struct Translation {
    u64 physical{};
    std::byte* host{};  // null: MMIO, nothing, or a write to ROM
    bool watched{};     // a store there has to be told to the CodePages
  };

  Mmu(memory::GuestMemory& memory, u8 physical_address_bits, bool gigabyte_pages);
  /// Pages with translated code get no write tags from here on. Null ends it. Flushes everything.
  void follow_code(CodePages* pages, Rendezvous::Member* member);

  /// From here on the log hears of stores. Null: nobody does. While all is flushed.
  void set_store_log(StoreLog* log) { store_log_ = log; }

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
  /// The next store into this page of guest memory (null: into any) is a miss.
  void drop_write_tags(std::byte const* page);
  /// Of all windows: Window::stack.
  void forget_stacks();

  // ---- translation ----
  /// Throws #PF. `linear` is canonical. Fills the TLB.
  Translation translate(u64 linear, Access access, Rights rights);
  /// The page fault that translate() would throw, or nothing: then it may still be that the access needs more
  /// than a look into the page tables.
  std::optional<Fault> find_fault(u64 linear, Access access, Rights rights) noexcept;
  /// The host's address for an access that needs nothing but a look into the page tables, with the TLB filled;
  /// null when there is more to it (a fault, a device, ROM, a store beside code, the end of a page or of the
  /// canonical addresses).
  /// Raises nothing and changes nothing that a guest sees but accessed and dirty flags; touches general
  /// registers only.
  std::byte* refill(u64 linear, u32 size, Access access, Rights rights) noexcept;

  // ---- windows ----
  /// Of these rights in the present address space; changes with set_cr3() and flushes.
  u8 window(Rights rights) const { return current_[static_cast<u8>(rights)]; }
  Window& window_at(u8 number) { return windows_[number]; }
  TlbEntry const& entry(Rights rights, u64 linear) const {
    return windows_[window(rights)].tlb[Window::index(linear)];
  }
  TlbWriteEntry const& write_entry(Rights rights, u64 linear) const {
    return windows_[window(rights)].writes[Window::index(linear)];
  }
  TlbWriteEntry const& data_write_entry(u64 linear) const { return data_writes_[Window::index(linear)]; }
  /// The entry for the rights chosen by set_data_rights().
  TlbEntry const& data_entry(u64 linear) const { return data_entries_[Window::index(linear)]; }
  void set_data_rights(Rights rights) {
    data_rights_ = rights;
    data_entries_ = windows_[window(rights)].tlb.data();
    data_writes_ = windows_[window(rights)].writes.data();
  }
  /// May be null. Whoever remembers addresses of code for a window says so for each page with note_executed().
  void set_observer(MappingObserver* observer) { observer_ = observer; }
  void note_executed(u8 window, u64 linear) { (*usage_)[window].executed.add(linear >> 12); }

  /// Walks of page tables, whole and partial flushes, INVLPGs, loads of CR3.
  struct Counters {
    u64 walks{}, flushes{}, page_flushes{}, switches{};
  };
  Counters const& counters() const { return counters_; }

  u8 physical_address_bits() const { return physical_address_bits_; }
  /// Host address of physical memory, or null; for page tables and the like.
  std::byte* host(u64 physical, bool for_write);

 private:
  enum Flag : u32 {
    writable = 1,
    user = 2,
    no_execute = 4,
    right_flags = 7,
    dirty = 8,
    global = 16,
    host_writable = 32,
    leaf = 64
  };
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
  struct Directory {     // what page-directory entry `number` led to, in formats of 64-bit entries
    u64 number{~u64{}};  // linear / 2 MiB
    u64 stamp{};
    std::byte* table{};     // of page-table entries, when it is not a leaf
    u64 frame_and_flags{};  // of all levels so far; host_writable: `table` lies in RAM
  };
  static constexpr u32 directories{256};
  struct Space {  // an address space whose translations may still be cached; its index is its window
    u16 pcid{};
    u64 stamp{};  // 0: slot unused
    u64 last_used{};
  };
  class PageSet {  // by number; may hold more than was added (a Bloom filter)
   public:
    void add(u64 page) {
      auto const [first, second] = bits_of(page);
      bits_[first / 64] |= u64{1} << first % 64;
      bits_[second / 64] |= u64{1} << second % 64;
      empty_ = false;
    }
    bool may_hold(u64 page) const {
      auto const [first, second] = bits_of(page);
      return !empty_ && (bits_[first / 64] >> first % 64 & bits_[second / 64] >> second % 64 & 1);
    }
    void clear() {
      if (!empty_) bits_.fill(0);
      empty_ = true;
    }

   private:
    // A guest compiler executes some 5000 pages: one in 150 others is taken for one of them.
    static constexpr u32 count{131072};
    static constexpr std::pair<u32, u32> bits_of(u64 page) {
      auto const hash = page * 0x9e3779b97f4a7c15;
      return {static_cast<u32>(hash >> 47), static_cast<u32>(hash >> 30) % count};
    }
    bool empty_{true};
    std::array<u64, count / 64> bits_{};
  };
  struct Usage {  // what of a window is filled
    u32 used{}, non_global{};
    bool executable{}, non_global_executable{}, global{};  // such a page was filled
    std::array<u16, Window::tlb_entries> used_list, non_global_list;
    std::array<u64, Window::tlb_entries / 64> on_non_global_list{};
    PageSet executed;
  };
  struct Walk {
    Cached result{};
    u32 error_code{};  // of the fault, with its P and RSVD bits alone
    bool quiet{};      // stores into watched page tables are to be kept for later
  };
  /// Page-table entries of a quiet walk that lie beside code. While there are any, nothing else is done
  /// quietly.
  struct Unreported {
    std::array<std::byte*, 4> entries;
    u32 count{};
  };

  // ---- flushes ----
  Space& space_for(u16 pcid);
  void enter(Space& space);
  u8 window_of(Space const& space) const { return static_cast<u8>(&space - spaces_.data()); }
  u16 present_pcid() const { return mode_.pcid ? static_cast<u16>(root_ & 0xfff) : u16{}; }
  void clear(u8 window);
  void forget_stack(u8 window);
  void drop_non_global(u8 window);
  void flush_page_of(u64 linear, Space const& space);
  void drop_pages(u64 linear, u32 pages, Space const& space);
  void tell_observer(u8 window);
  void note_flush(char const* what, u64 where);
  void forget_directories() { directory_stamp_ = ++last_stamp_; }
  void load_pdptes(u64 cr3);
  void derive_from_mode();

  // ---- translation; mmu_walk.cpp ----
  bool permits(u32 flags, Access access, Rights rights) const {
    return permitted_[static_cast<u8>(rights)][flags & right_flags] >> static_cast<u8>(access) & 1;
  }
  Cached* find_cached(u64 linear) noexcept;
  bool usable(Cached const* cached, Access access, Rights rights) const noexcept;
  bool walk(u64 linear, Access access, Rights rights, Walk& walk) noexcept;
  bool walk_from_directory(u64 linear, Access access, Rights rights, Walk& walk) noexcept;
  template <typename PageTableEntry>
  bool walk_all(u64 linear, Access access, Rights rights, Walk& walk) noexcept;
  Cached& insert(Cached const& cached, Cached* old) noexcept;
  /// Whether stores may pass unseen now.
  bool fill(u64 linear, Access access, Rights rights, Cached const& cached) noexcept;
  bool may_store_beside_code(Cached const& cached, std::byte const* host, u32 size) const noexcept;
  void table_changed(std::byte* entry, Walk const& walk) noexcept;
  void note_large_page(u64 linear, u64 size) noexcept;
  [[noreturn]] void page_fault(u64 linear, Access access, Rights rights, u32 code);
  Fault make_fault(u64 linear, Access access, Rights rights, u32 code) const;

  memory::GuestMemory& memory_;
  u8 physical_address_bits_;
  bool gigabyte_pages_;
  PagingMode mode_{};
  // Derived from the mode: accesses by rights and right_flags, and what is what in a 64-bit page-table entry.
  std::array<std::array<u8, right_flags + 1>, 3> permitted_{};
  u64 entry_reserved_{}, entry_address_{};
  Windows windows_;
  std::array<u8, 3> current_{Windows::user, Windows::supervisor, Windows::supervisor_ac};
  Rights data_rights_{};
  TlbEntry const* data_entries_{};
  TlbWriteEntry const* data_writes_{};
  MappingObserver* observer_{};
  CodePages* code_pages_{};
  Rendezvous::Member* member_{};
  StoreLog* store_log_{};
  Counters counters_{};
  Unreported unreported_{};
  std::unique_ptr<std::array<Usage, Windows::count>> usage_;
  std::unique_ptr<std::array<std::array<Cached, ways>, sets>> cached_;
  std::array<u8, sets> next_way_{};
  std::array<Directory, directories> directories_{};
  u64 directory_stamp_{};
  std::array<Space, Windows::spaces> spaces_{};
  Space* space_{spaces_.data()};
  u64 clock_{};
  u64 last_stamp_{};
  u64 global_stamp_{};
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
