#include <algorithm>
#include <bit>

#include "engine/soft/translate/block.h"
#include "engine/soft/translate/context.h"
#include "engine/soft/translate/region.h"

namespace vireo::engine::soft::translate {
namespace {

using x86::OperandKind;
using x86::Operation;
using x86::SegmentRegister;

constexpr i32 widest{512};  // bytes of a group: seldom across the end of a page
constexpr u32 most_candidates{8};

/// An access at base + displacement.
struct Access {
  u8 base{x86::no_register};
  i32 displacement{};
  u8 size{};
  bool write{};
};

Access access_of(Item const& item) {
  auto const& insn = item.insn;
  switch (item.kind) {
    case Kind::push:
      if (insn.operands[0].kind == OperandKind::memory) return {};
      return {x86::rsp, -8, 8, true};
    case Kind::indirect_call:
      if (insn.operands[0].kind == OperandKind::memory) return {};
      return {x86::rsp, -8, 8, true};
    case Kind::call: return {x86::rsp, -8, 8, true};
    case Kind::pop:
      if (insn.operands[0].kind == OperandKind::memory) return {};
      return {x86::rsp, 0, 8, false};
    case Kind::ret: return {x86::rsp, 0, 8, false};
    case Kind::leave: return {x86::rbp, 0, 8, false};
    case Kind::native: break;
    default: return {};
  }
  if (item.memory_operand == 0xff) return {};
  auto const& memory = insn.memory;
  auto const plain = memory.base != x86::no_register && memory.index == x86::no_register &&
                     !memory.rip_relative && insn.address_size == 8 && memory.segment < SegmentRegister::fs &&
                     memory.displacement >= -4096 && memory.displacement <= 4096;
  if (!plain) return {};
  auto const& operand = insn.operands[item.memory_operand];
  return {memory.base, static_cast<i32>(memory.displacement), operand.size, operand.written};
}

}  // namespace

Change change_of(Item const& item, u8 reg) {
  auto const rights = item.insn.operation == Operation::stac || item.insn.operation == Operation::clac;
  if (rights) return {false, 0};  // what was allowed may be no more
  if (!(item.written >> reg & 1)) return {};
  auto const& insn = item.insn;
  auto const stack = reg == x86::rsp;
  switch (item.kind) {
    case Kind::system: return {stack && insn.operation == Operation::pushf, -8};
    case Kind::push:
    case Kind::call:
    case Kind::indirect_call: return {stack, -8};
    case Kind::pop: return {stack && insn.operands[0].reg != x86::rsp, 8};
    case Kind::load_address: {
      auto const& memory = insn.memory;
      auto const adds = insn.operand_size == 8 && insn.address_size == 8 && memory.base == reg &&
                        memory.index == x86::no_register && !memory.rip_relative &&
                        memory.displacement >= -widest && memory.displacement <= widest;
      return {adds, static_cast<i32>(memory.displacement)};
    }
    case Kind::native: break;
    default: return {false, 0};
  }
  if (insn.operand_size != 8 || insn.operands[0].kind != OperandKind::gpr) return {false, 0};
  auto const value = static_cast<i64>(insn.immediate);
  auto const small = insn.operands[1].kind == OperandKind::immediate && value >= -widest && value <= widest;
  switch (insn.operation) {
    case Operation::add: return {small, static_cast<i32>(value)};
    case Operation::sub: return {small, static_cast<i32>(-value)};
    case Operation::inc: return {true, 1};
    case Operation::dec: return {true, -1};
    default: return {false, 0};
  }
}

namespace {

/// Groups of one base register, as numbers of their items.
struct Candidate {
  u8 base{};
  u32 accesses{};
  std::array<u8, Region::max_items> group{};  // of each item; 0xff: none
  u32 groups{};
  std::array<i32, 16> low{}, high{};
  std::array<u32, 16> members{};
  std::array<bool, 16> write{};
  bool changes{};
};

Candidate collect(Region const& region, u8 base) {
  auto found = Candidate{.base = base};
  found.group.fill(Item::no_group);
  auto offset = i32{};  // of the base register from where the group began
  auto open = false;
  for (auto i = 0u; i < region.count; ++i) {
    auto const& item = region.items[i];
    auto const access = item.group == Item::no_group ? access_of(item) : Access{};
    if (access.base == base) {
      auto const low = offset + access.displacement;
      auto const high = low + access.size;
      auto const current = found.groups - 1;
      auto const fits =
          open && std::max(high, found.high[current]) - std::min(low, found.low[current]) <= widest;
      if (!fits) {
        if (found.groups == found.low.size()) break;
        ++found.groups;
        offset = 0;
        found.low[found.groups - 1] = access.displacement;
        found.high[found.groups - 1] = access.displacement + access.size;
        open = true;
      }
      auto const now = found.groups - 1;
      auto const start = offset + access.displacement;
      found.low[now] = std::min(found.low[now], start);
      found.high[now] = std::max(found.high[now], start + access.size);
      found.write[now] = found.write[now] || access.write;
      found.group[i] = static_cast<u8>(now);
      ++found.members[now];
    }
    auto const change = change_of(item, base);
    if (!change.constant) open = false;
    if (!change.constant || change.by != 0) found.changes = true;
    offset += change.by;
  }
  for (auto i = 0u; i < found.groups; ++i) {
    if (found.members[i] > 1) found.accesses += found.members[i] - 1;
  }
  return found;
}

}  // namespace

u16 free_registers(Region const& region) {
  constexpr u16 kept{0xf1ef}, without_register{0x0e00};
  auto free = static_cast<u16>(~region.registers & kept);
  for (auto lent = std::popcount(static_cast<u16>(region.registers & without_register)); lent > 0; --lent) {
    free = static_cast<u16>(free & ~(1u << (15 - std::countl_zero(free))));
  }
  free = static_cast<u16>(free & ~region.taken);
  auto const lent_out =
      std::popcount(static_cast<u16>(region.registers & without_register)) + std::popcount(region.taken);
  while (std::popcount(free) + lent_out > static_cast<int>(Block::most_loans))
    free = static_cast<u16>(free & (free - 1));
  return free;
}

void find_groups(Region& region) {
  auto free = free_registers(region);
  auto candidates = std::array<Candidate, most_candidates>{};
  auto count = 0u;
  for (auto base = u8{}; base < 16; ++base) {
    if (!(region.registers >> base & 1)) continue;
    auto candidate = collect(region, base);
    auto const in_loop = region.loops && !region.comes_back && !candidate.changes && candidate.groups == 1;
    if (in_loop) candidate.accesses += 4;
    if (candidate.accesses == 0) continue;
    if (count < candidates.size()) {
      candidates[count++] = candidate;
      continue;
    }
    auto const least = std::ranges::min_element(candidates, {}, &Candidate::accesses);
    if (least->accesses < candidate.accesses) *least = candidate;
  }
  auto order = std::array<u8, most_candidates>{0, 1, 2, 3, 4, 5, 6, 7};
  std::ranges::sort(order, std::ranges::greater{}, [&](u8 i) { return candidates[i].accesses; });
  for (auto i = 0u; i < count; ++i) {
    auto const& candidate = candidates[order[i]];
    auto const place = free != 0 ? static_cast<u8>(15 - std::countl_zero(free)) : AccessGroup::no_place;
    auto used = false;
    auto const in_loop = region.loops && !region.comes_back && !candidate.changes && candidate.groups == 1;
    auto numbers = std::array<u8, 16>{};
    numbers.fill(Item::no_group);
    for (auto group = 0u; group < candidate.groups; ++group) {
      if ((candidate.members[group] < 2 && !in_loop) || region.group_count == Region::max_groups) continue;
      numbers[group] = static_cast<u8>(region.group_count);
      region.groups[region.group_count++] = {
          .base = candidate.base,
          .place = place,
          .low = candidate.low[group],
          .bytes = static_cast<u32>(candidate.high[group] - candidate.low[group]),
          .write = candidate.write[group],
          .before_loop = in_loop};
      used = true;
    }
    for (auto item = 0u; item < region.count; ++item) {
      if (candidate.group[item] == Item::no_group) continue;
      auto const group = numbers[candidate.group[item]];
      if (group == Item::no_group) continue;
      auto& member = region.items[item];
      member.group = group;
      auto const before = std::span{region.items}.first(item);
      member.first_of_group =
          std::ranges::none_of(before, [&](auto const& other) { return other.group == group; });
    }
    if (used && free != 0) free = static_cast<u16>(free & ~(1u << place));
  }
}

}  // namespace vireo::engine::soft::translate
