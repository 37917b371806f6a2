#include "engine/soft/mmu/mmu.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "engine/soft/mmu/page_table.h"
#include "engine/trace.h"

namespace vireo::engine::soft {

namespace {
constexpr u64 large_page{2 * MiB};

template <std::size_t words>
bool test_bit(std::array<u64, words> const& bits, u64 number) {
  return bits[number / 64 % words] >> number % 64 & 1;
}

void make_invalid(Window& window, u32 index) {  // it stays on the list of used entries
  auto& entry = window.tlb[index];
  entry.read = entry.execute = window.writes[index].tag = Window::no_tag(index);
}

bool permits(PagingMode const& mode, bool writable, bool user, bool no_execute, Access access, Rights rights) {
  if (rights == Rights::user) {
    if (!user) return false;
    if (access == Access::write) return writable;
    return access == Access::read || !no_execute;
  }
  if (access == Access::execute) return !no_execute && !(mode.smep && user);
  if (mode.smap && user && rights != Rights::supervisor_ac) return false;
  return access == Access::read || writable || !mode.write_protect;
}
}  // namespace

Mmu::Mmu(memory::GuestMemory& memory, u8 physical_address_bits, bool gigabyte_pages)
    : memory_{memory},
      physical_address_bits_{physical_address_bits},
      gigabyte_pages_{gigabyte_pages},
      usage_{std::make_unique<std::array<Usage, Windows::count>>()},
      cached_{std::make_unique<std::array<std::array<Cached, ways>, sets>>()} {
  derive_from_mode();
  flush_all();
}

void Mmu::follow_code(CodePages* pages, Rendezvous::Member* member) {
  code_pages_ = pages;
  member_ = member;
  unreported_.count = 0;
  flush_all();
}

void Mmu::set_mode(PagingMode const& mode, u64 cr3) {
  if (mode == mode_) return;
  auto const pae_begins = mode.format == PagingMode::Format::pae && mode_.format != PagingMode::Format::pae;
  mode_ = mode;
  root_ = cr3;
  derive_from_mode();
  if (pae_begins) load_pdptes(cr3);
  flush_all();
}

void Mmu::derive_from_mode() {
  for (auto const rights : {Rights::user, Rights::supervisor, Rights::supervisor_ac}) {
    for (auto flags = u32{}; flags <= right_flags; ++flags) {
      auto accesses = u8{};
      for (auto const access : {Access::read, Access::write, Access::execute}) {
        auto const allowed = soft::permits(mode_, (flags & writable) != 0, (flags & user) != 0,
                                           (flags & no_execute) != 0, access, rights);
        if (allowed) accesses |= static_cast<u8>(1u << static_cast<u8>(access));
      }
      permitted_[static_cast<u8>(rights)][flags] = accesses;
    }
  }
  auto const format = PageTableFormat<u64>{mode_, physical_address_bits_, gigabyte_pages_};
  entry_reserved_ = format.reserved(~u64{}, 1);
  entry_address_ = format.address_mask();
}

void Mmu::set_cr3(u64 cr3, bool keep) {
  root_ = cr3;
  ++counters_.switches;
  note_flush(keep ? "switch to address space" : "switch with flush to address space", cr3);
  if (mode_.format == PagingMode::Format::pae) load_pdptes(cr3);
  auto& space = space_for(present_pcid());
  auto const flushes = !keep || !mode_.pcid;
  if (flushes) {
    space.stamp = ++last_stamp_;
    clear(window_of(space));
  }
  if (flushes || &space != space_) {
    drop_non_global(Windows::supervisor);
    drop_non_global(Windows::supervisor_ac);
    forget_directories();
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

// ---- address spaces ----

/// The slot of this PCID, or the one that was left longest ago, emptied for it.
Mmu::Space& Mmu::space_for(u16 pcid) {
  auto* oldest = spaces_.data();
  for (auto& space : spaces_) {
    if (space.stamp != 0 && space.pcid == pcid) return space;
    if (space.last_used < oldest->last_used) oldest = &space;
  }
  clear(window_of(*oldest));
  *oldest = {.pcid = pcid, .stamp = ++last_stamp_, .last_used = 0};
  return *oldest;
}

void Mmu::enter(Space& space) {
  space.last_used = ++clock_;
  space_ = &space;
  current_[static_cast<u8>(Rights::user)] = window_of(space);
  set_data_rights(data_rights_);
}

// ---- invalidation ----

void Mmu::tell_observer(u8 window) {
  (*usage_)[window].executed.clear();
  if (observer_ != nullptr) observer_->mappings_changed(window);
}

void Mmu::clear(u8 window) {
  auto& usage = (*usage_)[window];
  for (auto i = u32{}; i < usage.used; ++i) {
    auto const index = usage.used_list[i];
    windows_[window].tlb[index] = Window::empty(index);
    windows_[window].writes[index] = {Window::no_tag(index), 0};
  }
  forget_stack(window);
  usage.used = 0;
  usage.global = false;
  usage.non_global_executable = false;  // told below
  drop_non_global(window);
  if (!usage.executable) return;
  usage.executable = false;
  tell_observer(window);
}

void Mmu::forget_stack(u8 window) { windows_[window].stack = windows_.no_stack(); }
void Mmu::forget_stacks() {
  for (auto window = u8{}; window < Windows::count; ++window) forget_stack(window);
}

void Mmu::drop_non_global(u8 window) {
  auto& usage = (*usage_)[window];
  forget_stack(window);
  for (auto i = u32{}; i < usage.non_global; ++i) {
    auto const index = usage.non_global_list[i];
    make_invalid(windows_[window], index);  // also when a global page has come there: the second level has it
    usage.on_non_global_list[index / 64] = 0;
  }
  usage.non_global = 0;
  if (!usage.non_global_executable) return;
  usage.non_global_executable = false;
  tell_observer(window);
}

// Not in noexcept code that translated code calls.
void Mmu::note_flush(char const* what, u64 where) {
  if ((trace() & trace_tlb) == 0) [[likely]]
    return;
  std::fputs(fmt::format("tlb {} {:#x}\n", what, where).c_str(), stderr);
}

void Mmu::flush_all() {
  ++counters_.flushes;
  note_flush("flush of everything, address space", root_);
  global_stamp_ = ++last_stamp_;
  if (any_large_page_) {
    large_pages_.fill(0);
    gigabyte_pages_seen_.fill(0);
    any_large_page_ = false;
  }
  region_ = {};
  clear(Windows::supervisor);
  clear(Windows::supervisor_ac);
  flush_non_global();
}

void Mmu::flush_non_global() {
  ++counters_.flushes;
  note_flush("flush of what is not global, address space", root_);
  for (auto& space : spaces_) {
    clear(window_of(space));
    space = {};
  }
  drop_non_global(Windows::supervisor);
  drop_non_global(Windows::supervisor_ac);
  forget_directories();
  *space_ = {.pcid = present_pcid(), .stamp = ++last_stamp_, .last_used = 0};
  enter(*space_);
}

void Mmu::flush_pcid(u16 pcid) {
  ++counters_.flushes;
  note_flush("flush of PCID", pcid);
  auto const found = std::ranges::find_if(spaces_, [pcid](auto& s) { return s.stamp != 0 && s.pcid == pcid; });
  if (found == spaces_.end()) return;
  found->stamp = ++last_stamp_;
  clear(window_of(*found));
  if (&*found != space_) return;
  drop_non_global(Windows::supervisor);
  drop_non_global(Windows::supervisor_ac);
  forget_directories();
}

void Mmu::flush_page(u64 linear) { flush_page_of(linear, *space_); }

void Mmu::flush_page_pcid(u64 linear, u16 pcid) {
  for (auto const& space : spaces_) {
    if (space.stamp != 0 && space.pcid == pcid) return flush_page_of(linear, space);
  }
}

void Mmu::flush_page_of(u64 linear, Space const& space) {
  ++counters_.page_flushes;
  note_flush("flush of page", linear);
  if (test_bit(gigabyte_pages_seen_, linear / GiB)) return flush_all();
  forget_directories();
  if (!test_bit(large_pages_, linear / large_page)) return drop_pages(linear, 1, space);
  auto const span = mode_.format == PagingMode::Format::two_level ? 2 * large_page : large_page;
  drop_pages(align_down(linear, span), static_cast<u32>(span / page_size), space);
}

void Mmu::drop_write_tags(std::byte const* page) {
  // SOUND: compared only.
  auto const host = reinterpret_cast<u64>(page);
  forget_stacks();
  for (auto window = u8{}; window < Windows::count; ++window) {
    auto const& usage = (*usage_)[window];
    for (auto i = u32{}; i < usage.used; ++i) {
      auto const index = usage.used_list[i];
      auto& entry = windows_[window].writes[index];
      if (page == nullptr || entry.tag + entry.distance == host) entry.tag = Window::no_tag(index);
    }
  }
}

/// From this address space, and global pages from all.
void Mmu::drop_pages(u64 linear, u32 pages, Space const& space) {
  auto const first = align_down(linear, page_size);
  for (auto window = u8{}; window < Windows::count; ++window) {
    auto& usage = (*usage_)[window];
    auto const concerned = window >= Windows::supervisor || window == window_of(space) || usage.global;
    if (usage.used == 0 || !concerned) continue;
    forget_stack(window);
    auto executed = false;
    for (auto i = u32{}; i < pages; ++i) {
      auto const page = first + i * page_size;
      auto const index = Window::index(page);
      auto const& entry = windows_[window].tlb[index];
      auto const writable_here = windows_[window].writes[index].tag == page;
      if (entry.read == page || entry.execute == page || writable_here) make_invalid(windows_[window], index);
      executed |= usage.executed.may_hold(page / page_size);
    }
    if (executed) tell_observer(window);
  }
  for (auto i = u32{}; i < pages; ++i) {
    auto const page = first + i * page_size;
    for (auto& cached : (*cached_)[(page >> 12) % sets]) {
      auto const concerned = cached.stamp == space.stamp || cached.stamp == global_stamp_;
      if (cached.page == page && concerned) cached.page = ~u64{};
    }
  }
}

}  // namespace vireo::engine::soft
