#include "engine/soft/mmu/mmu.h"
#include "engine/soft/mmu/page_table.h"
#include "x86/address.h"
#include "x86/registers.h"

// The half of translation that translated code may call with guest values in the vector registers: built with
// general registers only, so it must call nothing outside of this file.
namespace vireo::engine::soft {

namespace {
constexpr u64 page_mask{~u64{0xfff}};
constexpr u64 large_page{2 * MiB};

template <std::size_t words>
void set_bit(std::array<u64, words>& bits, u64 number) {
  bits[number / 64 % words] |= u64{1} << number % 64;
}
}  // namespace

std::byte* Mmu::host(u64 physical, bool for_write) {
  if (!region_.range.contains(Gpa{physical}, 1)) {
    auto const* found = static_cast<memory::GuestMemory::Region const*>(nullptr);
    for (auto const& region : memory_.regions()) {
      if (region.range.contains(Gpa{physical}, 1)) found = &region;
    }
    if (found == nullptr) return nullptr;
    region_ = *found;
  }
  if (for_write && region_.kind == memory::RegionKind::rom) return nullptr;
  return region_.host + (physical - region_.range.start.value);
}

// ---- the levels of the TLB ----

Mmu::Cached* Mmu::find_cached(u64 linear) noexcept {
  for (auto& cached : (*cached_)[(linear >> 12) % sets]) {
    if (cached.page == (linear & page_mask) &&
        (cached.stamp == space_->stamp || cached.stamp == global_stamp_)) {
      return &cached;
    }
  }
  return nullptr;
}

bool Mmu::usable(Cached const* cached, Access access, Rights rights) const noexcept {
  if (cached == nullptr || !permits(cached->flags(), access, rights)) return false;
  return access != Access::write || (cached->flags() & dirty);
}

Mmu::Cached& Mmu::insert(Cached const& cached, Cached* old) noexcept {
  auto const set = (cached.page >> 12) % sets;
  auto& slot = old != nullptr ? *old : (*cached_)[set][next_way_[set]++ % ways];
  slot = cached;
  return slot;
}

bool Mmu::fill(u64 linear, Access access, Rights rights, Cached const& cached) noexcept {
  if (cached.host == nullptr) return false;
  auto const number = window(rights);
  auto const index = Window::index(linear);
  auto const flags = cached.flags();
  auto const page = linear & page_mask;
  auto const none = Window::no_tag(index);
  auto const executes = permits(flags, Access::execute, rights);
  auto stores = (flags & dirty) && (flags & host_writable) && permits(flags, Access::write, rights);
  if (stores && code_pages_ != nullptr) {
    stores = code_pages_->allow_write_tag(cached.host, access == Access::write);
  }
  auto& usage = (*usage_)[number];
  auto& entry = windows_[number].tlb[index];
  auto& write_entry = windows_[number].writes[index];
  if (stores && store_log_ != nullptr) [[unlikely]]
    stores = access == Access::write && store_log_->open(cached.host, write_entry, index);
  // SOUND: only ever added to an offset in the page, giving a pointer into the region.
  auto const host = reinterpret_cast<u64>(cached.host);
  if (entry.page == 0) usage.used_list[usage.used++] = static_cast<u16>(index);
  usage.executable |= executes;
  usage.global |= (flags & global) != 0;
  if (number >= Windows::supervisor && !(flags & global)) {
    auto& word = usage.on_non_global_list[index / 64];
    auto const bit = u64{1} << index % 64;
    if (!(word & bit)) usage.non_global_list[usage.non_global++] = static_cast<u16>(index);
    word |= bit;
    usage.non_global_executable |= executes;
  }
  if (access == Access::write) {
    write_entry = {.tag = stores ? page : none, .distance = host - page};
    if (entry.page == 0) entry.page = host;
    return stores;
  }
  entry = {.read = permits(flags, Access::read, rights) ? page : none,
           .execute = executes ? page : none,
           .page = host,
           .distance = host - page};
  return stores;
}

void Mmu::table_changed(std::byte* entry, Walk const& walk) noexcept {
  if (store_log_ != nullptr) [[unlikely]]
    store_log_->table_changed(entry);
  if (code_pages_ == nullptr || !code_pages_->watched(entry, sizeof(u32))) return;
  if (!walk.quiet) return code_pages_->stored(entry, sizeof(u32), member_);
  unreported_.entries[unreported_.count++] = entry;
}

std::byte* Mmu::refill(u64 linear, u32 size, Access access, Rights rights) noexcept {
  if (!x86::is_canonical(linear) || linear % page_size + size > page_size || unreported_.count != 0)
    return nullptr;
  auto* cached = find_cached(linear);
  if (!usable(cached, access, rights)) {
    auto found = Walk{.quiet = true};
    if (!walk(linear, access, rights, found) || unreported_.count != 0) return nullptr;
    if (cached != nullptr && cached->host != found.result.host) return nullptr;  // the observer must hear of it
    cached = &insert(found.result, cached);
  }
  if (cached->host == nullptr) return nullptr;
  auto const stores = fill(linear, access, rights, *cached);
  auto* const host = cached->host + linear % page_size;
  if (access == Access::write && !stores && !may_store_beside_code(*cached, host, size)) return nullptr;
  return host;
}

/// The page may be stored into, and only code elsewhere in it stands against a write tag.
bool Mmu::may_store_beside_code(Cached const& cached, std::byte const* host, u32 size) const noexcept {
  return (cached.flags() & host_writable) && code_pages_ != nullptr && store_log_ == nullptr &&
         code_pages_->allow_store_beside(host, size);
}

// ---- page tables ----

void Mmu::note_large_page(u64 linear, u64 size) noexcept {
  any_large_page_ = true;
  if (size == GiB) return set_bit(gigabyte_pages_seen_, linear / GiB);
  for (auto offset = u64{}; offset < size; offset += large_page) {
    set_bit(large_pages_, (align_down(linear, size) + offset) / large_page);
  }
}

bool Mmu::walk(u64 linear, Access access, Rights rights, Walk& walk) noexcept {
  ++counters_.walks;
  using Format = PagingMode::Format;
  auto& result = walk.result;
  result.page = linear & page_mask;
  if (mode_.format == Format::none) {
    result.physical_and_flags = (linear & page_mask) | writable | user | dirty;
  } else if (mode_.format == Format::two_level) {
    if (!walk_all<u32>(linear, access, rights, walk)) return false;
  } else if (!walk_from_directory(linear, access, rights, walk)) {
    if (!walk_all<u64>(linear, access, rights, walk)) return false;
  }
  result.stamp = result.flags() & global ? global_stamp_ : space_->stamp;
  result.host = host(result.physical(), false);
  if (result.host != nullptr && region_.kind == memory::RegionKind::ram) {
    result.physical_and_flags |= host_writable;
  }
  return true;
}

/// The last step of a walk whose first steps are remembered. False also when only the whole way can tell.
bool Mmu::walk_from_directory(u64 linear, Access access, Rights rights, Walk& walk) noexcept {
  auto const& directory = directories_[linear / large_page % directories];
  if (directory.number != linear / large_page || directory.stamp != directory_stamp_) return false;
  auto flags = static_cast<u32>(directory.frame_and_flags & 0xfff);
  if (flags & leaf) {
    if (!permits(flags, access, rights) || (access == Access::write && !(flags & dirty))) return false;
    auto const frame = directory.frame_and_flags & page_mask;
    walk.result.physical_and_flags = (frame + (linear & (large_page - 1) & page_mask)) | (flags & ~u32{leaf});
    return true;
  }
  // SOUND: page-table entries are aligned and `table` is a whole page of them.
  auto* const at = reinterpret_cast<u64*>(directory.table + (linear >> 12 & 0x1ff) * 8);
  auto value = __atomic_load_n(at, __ATOMIC_RELAXED);
  if (!(value & page_present) || (value & entry_reserved_)) return false;
  auto const table_writable = (flags & host_writable) != 0;
  flags &= right_flags;
  if (!(value & page_writable)) flags &= ~u32{writable};
  if (!(value & page_user)) flags &= ~u32{user};
  if (value & page_no_execute) flags |= no_execute;
  if (!permits(flags, access, rights)) return false;
  auto const wanted = value | page_accessed | (access == Access::write ? u64{page_dirty} : 0);
  // SOUND: as in walk_all.
  if (wanted != value && table_writable) {
    if (!__atomic_compare_exchange_n(at, &value, wanted, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
      return false;
    // SOUND: the entry as bytes.
    table_changed(reinterpret_cast<std::byte*>(at), walk);
  }
  if (wanted & page_dirty) flags |= dirty;
  if ((value & page_global) && mode_.global_pages) flags |= global;
  walk.result.physical_and_flags = (value & entry_address_) | flags;
  return true;
}

template <typename PageTableEntry>
bool Mmu::walk_all(u64 linear, Access access, Rights rights, Walk& walk) noexcept {
  auto const format = PageTableFormat<PageTableEntry>{mode_, physical_address_bits_, gigabyte_pages_};
  struct Step {
    PageTableEntry* at;
    PageTableEntry value;
    bool writable;  // false: the table lies in ROM
  };
  for (;;) {
    std::array<Step, 4> path;
    auto depth = std::size_t{};
    auto flags = u32{writable | user};
    auto flags_above = flags;
    auto table = root_ & format.root_mask();
    auto level = format.top_level();
    if (mode_.format == PagingMode::Format::pae) {
      auto const pdpte = pdpte_[linear >> 30 & 3];
      if (!(pdpte & page_present)) return false;
      table = pdpte & format.address_mask();
    }
    for (;; --level) {
      // SOUND: page-table entries are aligned and lie in one page, so `at` has sizeof(PageTableEntry) bytes.
      auto* const at = reinterpret_cast<PageTableEntry*>(host(table + format.index(linear, level), false));
      auto const value =
          at != nullptr ? __atomic_load_n(at, __ATOMIC_RELAXED) : static_cast<PageTableEntry>(~u64{});
      if (!(value & page_present)) return false;
      if (format.reserved(value, level) != 0) {
        walk.error_code = x86::pf_present | x86::pf_reserved;
        return false;
      }
      path[depth++] = {at, value, at != nullptr && region_.kind == memory::RegionKind::ram};
      flags_above = flags;
      if (!(value & page_writable)) flags &= ~u32{writable};
      if (!(value & page_user)) flags &= ~u32{user};
      if (format.no_execute(value)) flags |= no_execute;
      if (level == 1 || format.is_large(value, level)) break;
      table = value & format.address_mask();
    }
    auto const& last = path[depth - 1];
    if (!permits(flags, access, rights)) {
      walk.error_code = x86::pf_present;
      return false;
    }
    if ((last.value & page_global) && mode_.global_pages) flags |= global;

    auto lost_race = false;
    for (auto i = std::size_t{}; i < depth && !lost_race; ++i) {
      auto wanted = static_cast<PageTableEntry>(path[i].value | page_accessed);
      if (i + 1 == depth && access == Access::write) wanted |= page_dirty;
      if (wanted == path[i].value || !path[i].writable) continue;
      // SOUND: other vCPUs and DMA may change the entry; it is replaced only if it is still what was walked.
      lost_race = !__atomic_compare_exchange_n(path[i].at, &path[i].value, wanted, false, __ATOMIC_SEQ_CST,
                                               __ATOMIC_RELAXED);
      if (!lost_race) table_changed(reinterpret_cast<std::byte*>(path[i].at), walk);
    }
    if (lost_race && unreported_.count != 0) return false;  // quiet, and may not do more so
    if (lost_race) continue;
    if ((last.value & page_dirty) || access == Access::write) flags |= dirty;
    auto const size = format.page_bytes(level);
    if (size > page_size) note_large_page(linear, size);
    walk.result.physical_and_flags =
        (format.frame(last.value, level) + (linear & (size - 1) & page_mask)) | flags;
    if (sizeof(PageTableEntry) == 4 || last.at == nullptr) return true;
    auto& directory = directories_[linear / large_page % directories];
    directory.number = linear / large_page;
    directory.stamp = directory_stamp_;
    if (level == 1) {
      // SOUND: the entry lies in the page of guest memory that holds its table.
      directory.table = reinterpret_cast<std::byte*>(reinterpret_cast<u64>(last.at) & page_mask);
      directory.frame_and_flags = flags_above | (last.writable ? u32{host_writable} : 0);
    } else {
      directory.frame_and_flags = (walk.result.physical_and_flags & ~(large_page - 1)) | flags | leaf;
    }
    return true;
  }
}

}  // namespace vireo::engine::soft
