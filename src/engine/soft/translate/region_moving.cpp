#include <algorithm>
#include <bit>
#include <cstdlib>

#include "engine/soft/translate/region.h"

// Loops over arrays: accesses whose address changes by the same distance at each turn.
namespace vireo::engine::soft::translate {
namespace {

using x86::OperandKind;
using x86::SegmentRegister;

constexpr i32 farthest_stride{512};
constexpr i32 widest_range{512};
constexpr u32 most_groups{6}, most_places{4};

/// Accesses at base + index * scale + something, by the item's number.
struct Family {
  u8 base{x86::no_register}, index{x86::no_register}, scale{1};
  u64 members{};
  i32 low{}, high{};
  bool write{};
  i32 offset{};  // of base + index * scale from where the turn began
  i32 stride{};  // the offset at the first way back, which must be that at all of them
  bool turned{};
  bool steady{true};

  u32 count() const { return static_cast<u32>(std::popcount(members)); }
  bool usable() const { return steady && std::abs(stride) <= farthest_stride && high - low <= widest_range; }
};

bool goes_back(Item const& item) {
  if (item.kind != Kind::branch && item.kind != Kind::jump && item.kind != Kind::loop) return false;
  return static_cast<i64>(item.insn.immediate) + item.offset + item.insn.length == 0;
}

/// The last branch to the region's start, or its count when LOOP is one.
u32 last_way_back(Region const& region) {
  auto found = region.count;
  for (auto i = 0u; i < region.count; ++i) {
    if (!goes_back(region.items[i])) continue;
    if (region.items[i].kind == Kind::loop) return region.count;
    found = i;
  }
  return found;
}

bool concerns(Item const& item) {
  auto const& insn = item.insn;
  if (item.kind != Kind::native || item.memory_operand == 0xff || item.group != Item::no_group) return false;
  auto const& memory = insn.memory;
  return (memory.base != x86::no_register || memory.index != x86::no_register) && !memory.rip_relative &&
         insn.address_size == 8 && memory.segment < SegmentRegister::fs &&
         memory.displacement == static_cast<i32>(memory.displacement);
}

bool same_place(Family const& family, x86::MemoryOperand const& memory) {
  return family.base == memory.base && family.index == memory.index &&
         (memory.index == x86::no_register || family.scale == memory.scale);
}

void add_member(Family& family, Item const& item, u32 number) {
  auto const& operand = item.insn.operands[item.memory_operand];
  auto const at = i64{family.offset} + item.insn.memory.displacement;
  auto const low = static_cast<i32>(at), high = low + operand.size;
  if (at != low || at > 1 << 30 || at < -(1 << 30)) {
    family.steady = false;
    return;
  }
  family.low = family.members == 0 ? low : std::min(family.low, low);
  family.high = family.members == 0 ? high : std::max(family.high, high);
  family.members |= u64{1} << number;
  family.write = family.write || operand.written;
}

void follow(Family& family, Item const& item) {
  auto const move = [&](u8 reg, i32 times) {
    if (reg == x86::no_register) return;
    auto const change = change_of(item, reg);
    family.steady = family.steady && change.constant;
    family.offset += change.by * times;
  };
  move(family.base, 1);
  move(family.index, family.scale);
  if (!goes_back(item)) return;
  if (!family.turned) family.stride = family.offset;
  family.turned = true;
  family.steady = family.steady && family.stride == family.offset;
}

}  // namespace

void find_moving_groups(Region& region) {
  static_assert(Region::max_items <= 64);
  if (!region.loops || region.live_flags != 0) return;
  auto const way_back = last_way_back(region);
  if (way_back == region.count) return;
  auto families = std::array<Family, 12>{};
  auto count = 0u;
  // The families first, so that each sees all changes of its registers.
  for (auto i = 0u; i <= way_back; ++i) {
    auto const& item = region.items[i];
    if (!concerns(item)) continue;
    auto const& memory = item.insn.memory;
    auto const known = std::span{families}.first(count);
    if (std::ranges::any_of(known, [&](auto const& family) { return same_place(family, memory); })) continue;
    if (count == families.size()) break;
    families[count++] = {.base = memory.base, .index = memory.index, .scale = std::max<u8>(memory.scale, 1)};
  }
  for (auto i = 0u; i <= way_back; ++i) {
    auto const& item = region.items[i];
    for (auto& family : std::span{families}.first(count)) {
      if (concerns(item) && same_place(family, item.insn.memory)) add_member(family, item, i);
      follow(family, item);
    }
  }
  auto const all = std::span{families.data(), count};
  auto const usable = all.first(count - std::ranges::partition(all, &Family::usable).size());
  if (std::ranges::none_of(usable, [](auto const& family) { return family.stride != 0; })) return;
  std::ranges::sort(usable, std::ranges::greater{}, &Family::count);
  auto free = free_registers(region);
  auto const take = [&] {
    auto const reg = static_cast<u8>(15 - std::countl_zero(free));
    free = static_cast<u16>(free & ~(1u << reg));
    region.taken = static_cast<u16>(region.taken | 1u << reg);
    return reg;
  };
  if (free == 0) return;
  region.turns = take();
  region.comes_back = true;
  for (auto const& family : usable.first(std::min<std::size_t>(usable.size(), most_groups))) {
    auto const number = region.group_count++;
    auto& group = region.groups[number] = {};
    group.base = family.base;
    group.place = free != 0 && number < most_places ? take() : AccessGroup::no_place;
    group.low = family.low;
    group.bytes = static_cast<u32>(family.high - family.low);
    group.write = family.write;
    group.moves = true;
    group.index = family.index;
    group.scale = family.scale;
    group.stride = family.stride;
    for (auto i = 0u; i < region.count; ++i) {
      if (family.members >> i & 1) region.items[i].group = static_cast<u8>(number);
    }
  }
}

}  // namespace vireo::engine::soft::translate
