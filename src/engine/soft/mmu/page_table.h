#pragma once

#include "engine/soft/mmu/mmu.h"

namespace vireo::engine::soft {

/// Bits of page-table entries (SDM vol. 3, 4.3 to 4.5).
enum PageBit : u64 {
  page_present = 1u << 0,
  page_writable = 1u << 1,
  page_user = 1u << 2,
  page_accessed = 1u << 5,
  page_dirty = 1u << 6,
  page_large = 1u << 7,
  page_global = 1u << 8,
  page_no_execute = u64{1} << 63,
};
inline constexpr u64 pae_root_mask{0xffffffe0};

constexpr u64 bits(u32 low, u32 high) {  // low..high inclusive; empty when low > high
  return low > high ? 0 : (~u64{} >> (63 - high)) & (~u64{} << low);
}

/// PAE page-directory-pointer-table entries: bits 1-2, 5-8 and above the physical address width.
constexpr u64 pdpte_reserved(u8 physical_address_bits) {
  return bits(1, 2) | bits(5, 8) | bits(physical_address_bits, 63);
}

/// The layout of one format of page tables: u32 entries for two-level, u64 for PAE and four-level. Level 1
/// holds pages.
template <typename PageTableEntry>
struct PageTableFormat;

template <>
struct PageTableFormat<u64> {
  PagingMode const& mode;
  u8 width;  // MAXPHYADDR
  bool gigabyte_pages;

  bool pae() const { return mode.format == PagingMode::Format::pae; }
  u8 top_level() const { return pae() ? 2 : 4; }
  u64 root_mask() const { return address_mask(); }
  u64 address_mask() const { return bits(12, width - 1u); }
  u64 index(u64 linear, u8 level) const { return (linear >> shift(level) & 0x1ff) * 8; }
  u64 page_bytes(u8 level) const { return u64{1} << shift(level); }
  bool is_large(u64 entry, u8 level) const { return level < 4 && (entry & page_large); }
  bool no_execute(u64 entry) const { return entry & page_no_execute; }
  u64 frame(u64 entry, u8 level) const { return entry & address_mask() & ~(page_bytes(level) - 1); }
  u64 reserved(u64 entry, u8 level) const {
    auto mask = bits(width, 51);
    if (pae()) mask |= bits(52, 62);
    if (!mode.no_execute) mask |= page_no_execute;
    if (level == 4 || (level == 3 && !gigabyte_pages)) mask |= page_large;
    if (level > 1 && is_large(entry, level)) mask |= bits(13, shift(level) - 1);
    return entry & mask;
  }

 private:
  static u32 shift(u8 level) { return 12u + 9u * (level - 1u); }
};

template <>
struct PageTableFormat<u32> {
  PagingMode const& mode;
  u8 width;
  bool gigabyte_pages;

  u8 top_level() const { return 2; }
  u64 root_mask() const { return address_mask(); }
  u64 address_mask() const { return 0xfffff000; }
  u64 index(u64 linear, u8 level) const { return (linear >> (level == 2 ? 22 : 12) & 0x3ff) * 4; }
  u64 page_bytes(u8 level) const { return level == 2 ? 4 * MiB : page_size; }
  bool is_large(u32 entry, u8 level) const {
    return level == 2 && mode.page_size_extension && (entry & page_large);
  }
  bool no_execute(u32) const { return false; }
  u64 frame(u32 entry, u8 level) const {
    if (level == 1) return entry & address_mask();
    return (entry & 0xffc00000) | (u64{entry} >> 13 & 0xff) << 32;  // PSE-36
  }
  u64 reserved(u32 entry, u8 level) const {
    if (!is_large(entry, level)) return 0;
    return entry & (width >= 40 ? bits(21, 21) : bits(width - 19u, 21));
  }
};

}  // namespace vireo::engine::soft
