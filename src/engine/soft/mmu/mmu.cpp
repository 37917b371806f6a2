#include "engine/soft/mmu/mmu.h"

#include <algorithm>

#include "engine/soft/interp/fault.h"
#include "engine/soft/mmu/page_table.h"

namespace vireo::engine::soft {

namespace {
constexpr u64 page_mask{~u64{0xfff}};
constexpr u16 last_generation{0xfff};
constexpr u64 large_page{2 * MiB};
constexpr u64 cr3_pcid{0xfff};

template <std::size_t words>
void set_bit(std::array<u64, words>& bits, u64 number) {
  bits[number / 64 % words] |= u64{1} << number % 64;
}
template <std::size_t words>
bool test_bit(std::array<u64, words> const& bits, u64 number) {
  return bits[number / 64 % words] >> number % 64 & 1;
}
}  // namespace

Mmu::Mmu(memory::GuestMemory& memory, u8 physical_address_bits, bool gigabyte_pages)
    : memory_{memory},
      physical_address_bits_{physical_address_bits},
      gigabyte_pages_{gigabyte_pages},
      storage_{std::make_unique<std::array<Table, 3>>()},
      tables_{storage_->data()},
      cached_{std::make_unique<std::array<std::array<Cached, ways>, sets>>()} {
  flush_all();
}

void Mmu::set_mode(PagingMode const& mode, u64 cr3) {
  if (mode == mode_) return;
  auto const pae_begins = mode.format == PagingMode::Format::pae && mode_.format != PagingMode::Format::pae;
  mode_ = mode;
  root_ = cr3;
  if (pae_begins) load_pdptes(cr3);
  flush_all();
}

void Mmu::set_cr3(u64 cr3, bool keep) {
  root_ = cr3;
  if (mode_.format == PagingMode::Format::pae) load_pdptes(cr3);
  auto& space = space_for(mode_.pcid ? static_cast<u16>(cr3 & cr3_pcid) : u16{});
  if (!keep || !mode_.pcid) {
    space.stamp = ++last_stamp_;
    space.generation = 0;
  }
  enter(space);
}

bool Mmu::pdptes_valid(u64 cr3) const {
  for (auto i = u64{}; i < 4; ++i) {
    auto const pdpte = memory_.read_as<u64>(Gpa{(cr3 & pae_root_mask) + i * 8});
    if (!pdpte) return false;
    if ((*pdpte & page_present) && (*pdpte & pdpte_reserved(physical_address_bits_))) return false;
  }
  return true;
}

void Mmu::load_pdptes(u64 cr3) {
  for (auto i = u64{}; i < 4; ++i) {
    pdpte_[i] = memory_.read_as<u64>(Gpa{(cr3 & pae_root_mask) + i * 8}).value_or(0);
  }
}

// ---- invalidation ----

u16 Mmu::new_generation() {
  if (last_generation_ == last_generation) {
    last_generation_ = 0;
    for (auto& table : *storage_) table.entries.fill({});
    for (auto& space : spaces_) space.generation = 0;
  }
  return ++last_generation_;
}

Mmu::Space& Mmu::space_for(u16 pcid) {
  auto* oldest = spaces_.data();
  for (auto& space : spaces_) {
    if (space.stamp != 0 && space.pcid == pcid) return space;
    if (space.last_used < oldest->last_used) oldest = &space;
  }
  *oldest = {.pcid = pcid, .generation = 0, .stamp = ++last_stamp_, .last_used = 0};
  return *oldest;
}

void Mmu::enter(Space& space) {
  if (space.generation == 0) space.generation = new_generation();
  space.last_used = ++clock_;
  space_ = &space;
  generation_ = space.generation;
}

void Mmu::flush_all() {
  global_stamp_ = ++last_stamp_;
  if (any_large_page_) {
    large_pages_.fill(0);
    gigabyte_pages_seen_.fill(0);
    any_large_page_ = false;
  }
  region_ = {};
  flush_non_global();
}

void Mmu::flush_non_global() {
  spaces_.fill({});
  enter(space_for(mode_.pcid ? static_cast<u16>(root_ & cr3_pcid) : u16{}));
}

void Mmu::flush_pcid(u16 pcid) {
  auto const found = std::ranges::find_if(spaces_, [pcid](auto& s) { return s.stamp != 0 && s.pcid == pcid; });
  if (found == spaces_.end()) return;
  found->stamp = ++last_stamp_;
  found->generation = 0;
  if (&*found == space_) enter(*found);
}

void Mmu::flush_page(u64 linear) {
  if (test_bit(gigabyte_pages_seen_, linear / GiB)) return flush_all();
  if (!test_bit(large_pages_, linear / large_page)) return drop_page(linear);
  auto const span = mode_.format == PagingMode::Format::two_level ? 2 * large_page : large_page;
  auto const start = align_down(linear, span);
  for (auto offset = u64{}; offset < span; offset += page_size) drop_page(start + offset);
}

void Mmu::flush_page_pcid(u64 linear, u16) { flush_page(linear); }  // more than asked for is allowed

void Mmu::drop_first_level(u64 linear) {
  auto const index = (linear >> 12) & (table_entries - 1);
  for (auto& table : *storage_) table.entries[index] = {};
}

void Mmu::drop_page(u64 linear) {
  drop_first_level(linear);
  for (auto& cached : (*cached_)[(linear >> 12) % sets]) {
    if (cached.page == (linear & page_mask)) cached.page = ~u64{};
  }
}

void Mmu::note_large_page(u64 linear, u64 size) {
  any_large_page_ = true;
  if (size == GiB) return set_bit(gigabyte_pages_seen_, linear / GiB);
  for (auto offset = u64{}; offset < size; offset += large_page) {
    set_bit(large_pages_, (align_down(linear, size) + offset) / large_page);
  }
}

// ---- translation ----

std::byte* Mmu::host(u64 physical, bool for_write) {
  if (!region_.range.contains(Gpa{physical}, 1)) {
    auto const* found = memory_.find(Gpa{physical});
    if (found == nullptr) return nullptr;
    region_ = *found;
  }
  if (for_write && region_.kind == memory::RegionKind::rom) return nullptr;
  return region_.host + (physical - region_.range.start.value);
}

bool Mmu::permits(u32 flags, Access access, Rights rights) const {
  if (rights == Rights::user) {
    if (!(flags & user)) return false;
    if (access == Access::write) return flags & writable;
    return access == Access::read || !(flags & no_execute);
  }
  if (access == Access::execute) return !(flags & no_execute) && !(mode_.smep && (flags & user));
  if (mode_.smap && (flags & user) && rights != Rights::supervisor_ac) return false;
  return access == Access::read || (flags & writable) || !mode_.write_protect;
}

void Mmu::page_fault(u64 linear, Access access, Rights rights, u32 code) {
  drop_page(linear);  // SDM vol. 3, 4.10.4.1: a page fault invalidates what was cached for its address
  if (access == Access::write) code |= x86::pf_write;
  if (rights == Rights::user) code |= x86::pf_user;
  if (access == Access::execute && (mode_.no_execute || mode_.smep)) code |= x86::pf_fetch;
  throw Fault{.vector = x86::Vector::pf, .has_error_code = true, .error_code = code, .address = linear};
}

Mmu::Cached* Mmu::find_cached(u64 linear) {
  for (auto& cached : (*cached_)[(linear >> 12) % sets]) {
    if (cached.page == (linear & page_mask) &&
        (cached.stamp == space_->stamp || cached.stamp == global_stamp_)) {
      return &cached;
    }
  }
  return nullptr;
}

Mmu::Cached& Mmu::insert(Cached const& cached) {
  auto const set = (cached.page >> 12) % sets;
  auto* const old = find_cached(cached.page);
  auto& slot = old != nullptr ? *old : (*cached_)[set][next_way_[set]++ % ways];
  slot = cached;
  return slot;
}

void Mmu::fill(u64 linear, Rights rights, Cached const& cached) {
  if (cached.host == nullptr) return;
  auto const tag_here = tag(linear);
  auto const may = [&](Access access) { return permits(cached.flags(), access, rights); };
  auto const stores = (cached.flags() & dirty) && (cached.flags() & host_writable) && may(Access::write);
  tables_[static_cast<u8>(rights)].entries[(linear >> 12) & (table_entries - 1)] = {
      .read = may(Access::read) ? tag_here : 0,
      .write = stores ? tag_here : 0,
      .execute = may(Access::execute) ? tag_here : 0,
      // SOUND: only ever added back to an address of the same page, giving a pointer into the region.
      .addend = reinterpret_cast<u64>(cached.host) - (linear & page_mask)};
}

Mmu::Translation Mmu::translate(u64 linear, Access access, Rights rights) {
  auto const* cached = find_cached(linear);
  auto const usable = cached != nullptr && permits(cached->flags(), access, rights) &&
                      (access != Access::write || (cached->flags() & dirty));
  if (!usable) {
    auto walked = mode_.format == PagingMode::Format::two_level ? walk<u32>(linear, access, rights)
                                                                : walk<u64>(linear, access, rights);
    walked.stamp = walked.flags() & global ? global_stamp_ : space_->stamp;
    walked.host = host(walked.physical(), false);
    if (host(walked.physical(), true) != nullptr) walked.physical_and_flags |= host_writable;
    cached = &insert(walked);
  }
  fill(linear, rights, *cached);
  auto const reachable =
      cached->host != nullptr && (access != Access::write || (cached->flags() & host_writable));
  auto const offset = linear & ~page_mask;
  return {.physical = cached->physical() + offset, .host = reachable ? cached->host + offset : nullptr};
}

template <typename PageTableEntry>
Mmu::Cached Mmu::walk(u64 linear, Access access, Rights rights) {
  auto cached = Cached{.page = linear & page_mask};
  if (mode_.format == PagingMode::Format::none) {
    cached.physical_and_flags = (linear & page_mask) | writable | user | dirty;
    return cached;
  }
  auto const format = PageTableFormat<PageTableEntry>{mode_, physical_address_bits_, gigabyte_pages_};
  struct Step {
    PageTableEntry* at;
    PageTableEntry value;
    bool writable;  // false: the table lies in ROM
  };
  for (;;) {
    auto path = std::array<Step, 4>{};
    auto depth = std::size_t{};
    auto flags = u32{writable | user};
    auto table = root_ & format.root_mask();
    auto level = format.top_level();
    if (mode_.format == PagingMode::Format::pae) {
      auto const pdpte = pdpte_[linear >> 30 & 3];
      if (!(pdpte & page_present)) page_fault(linear, access, rights, 0);
      table = pdpte & format.address_mask();
    }
    for (;; --level) {
      // SOUND: page-table entries are aligned and lie in one page, so `at` has sizeof(PageTableEntry) bytes.
      auto* const at = reinterpret_cast<PageTableEntry*>(host(table + format.index(linear, level), false));
      auto const value =
          at != nullptr ? __atomic_load_n(at, __ATOMIC_RELAXED) : static_cast<PageTableEntry>(~u64{});
      if (!(value & page_present)) page_fault(linear, access, rights, 0);
      if (format.reserved(value, level) != 0) {
        page_fault(linear, access, rights, x86::pf_present | x86::pf_reserved);
      }
      path[depth++] = {at, value, host(table, true) != nullptr};
      if (!(value & page_writable)) flags &= ~u32{writable};
      if (!(value & page_user)) flags &= ~u32{user};
      if (format.no_execute(value)) flags |= no_execute;
      if (level == 1 || format.is_large(value, level)) break;
      table = value & format.address_mask();
    }
    auto const leaf = path[depth - 1].value;
    if (!permits(flags, access, rights)) page_fault(linear, access, rights, x86::pf_present);
    if ((leaf & page_global) && mode_.global_pages) flags |= global;

    auto lost_race = false;
    for (auto i = std::size_t{}; i < depth && !lost_race; ++i) {
      auto wanted = static_cast<PageTableEntry>(path[i].value | page_accessed);
      if (i + 1 == depth && access == Access::write) wanted |= page_dirty;
      if (wanted == path[i].value || !path[i].writable) continue;
      // SOUND: other vCPUs and DMA may change the entry; it is replaced only if it is still what was walked.
      lost_race = !__atomic_compare_exchange_n(path[i].at, &path[i].value, wanted, false, __ATOMIC_SEQ_CST,
                                               __ATOMIC_RELAXED);
    }
    if (lost_race) continue;
    if ((leaf & page_dirty) || access == Access::write) flags |= dirty;
    auto const size = format.page_bytes(level);
    if (size > page_size) note_large_page(linear, size);
    cached.physical_and_flags = (format.frame(leaf, level) + (linear & (size - 1) & page_mask)) | flags;
    return cached;
  }
}

}  // namespace vireo::engine::soft
