#include <cstddef>

#include "engine/soft/translate/generator.h"

// 16- and 32-bit code: offsets of 16 or 32 bits, segments with base and limit, stacks of 16 or 32 bits, and an
// instruction pointer that is not the linear address.
namespace vireo::engine::soft::translate {

using x86::OperandKind;
using x86::SegmentRegister;

namespace {
Width width_of(u32 size) { return size == 2 ? Width::w : Width::d; }
Mem by_segment(std::size_t array, SegmentRegister segment) {
  return in_context(array + static_cast<std::size_t>(segment) * sizeof(u64));
}
}  // namespace

// ---- addresses ----

/// r10 = offset within the segment.
void Generator::offset_of_operand(Item const& item) {
  auto const& insn = item.insn;
  auto const& memory = insn.memory;
  auto const base = memory.base == x86::no_register ? Reg::none : host(memory.base);
  auto const index = memory.index == x86::no_register ? Reg::none : host(memory.index);
  auto const displacement = static_cast<i32>(memory.displacement);
  if (base == Reg::none && index == Reg::none) {
    auto const value = static_cast<u32>(displacement);
    return out_.mov_imm(scratch, insn.address_size == 2 ? static_cast<u16>(value) : value);
  }
  if (insn.address_size == 2 && index == Reg::none && displacement == 0) {
    return out_.movzx(Width::w, scratch, base);
  }
  if (index == Reg::none && displacement == 0)
    out_.mov(Width::d, scratch, base);
  else
    out_.lea(Width::d, scratch, {.base = base, .index = index, .scale = memory.scale, .disp = displacement});
  if (insn.address_size == 2) out_.movzx(Width::w, scratch, scratch);
}

/// r10 = offset -> r10 = linear address. The flags may be lost.
void Generator::add_segment(Item const& item, SegmentRegister segment, u32 size, bool write) {
  if (mode_.flat >> static_cast<unsigned>(segment) & 1) return;
  auto& refused = cold(Cold::Kind::refused);
  refused.number = site(item, size, write);
  auto last = scratch;
  if (size > 1) {
    last = second_scratch;
    out_.lea(Width::q, last, {.base = scratch, .disp = static_cast<i32>(size - 1)});
  }
  auto const ends = write ? offsetof(Context, write_end) : offsetof(Context, read_end);
  out_.alu(Alu::cmp, Width::q, last, by_segment(ends, segment));
  out_.jcc(Cond::ae, refused.entry);
  out_.alu(Alu::add, Width::d, scratch, by_segment(offsetof(Context, segment_base), segment));
}

void Generator::legacy_address(Item const& item, u32 size, bool write) {
  offset_of_operand(item);
  add_segment(item, item.insn.memory.segment, size, write);
}

void Generator::legacy_load_address(Item const& item) {
  auto const& insn = item.insn;
  offset_of_operand(item);
  out_.mov(width_of(insn.operand_size), host(insn.operands[0].reg), scratch);
}

// ---- the stack ----

Mem Generator::reach_stack(Item const& item, Reg from, i32 displacement, u32 size, bool write) {
  lose_flags(item.flags_needed);
  auto const wide = mode_.stack_size == 4;
  if (displacement != 0)
    out_.lea(Width::d, scratch, {.base = from, .disp = displacement});
  else if (wide)
    out_.mov(Width::d, scratch, from);
  if (!wide) out_.movzx(Width::w, scratch, displacement != 0 ? scratch : from);
  add_segment(item, SegmentRegister::ss, size, write);
  check(item, size, write);
  return {.base = scratch};
}

/// Stack pointer = `from` + `by`.
void Generator::move_stack(Reg from, i32 by) {
  if (mode_.stack_size == 4) return out_.lea(Width::d, guest_stack_pointer, {.base = from, .disp = by});
  out_.lea(Width::d, second_scratch, {.base = from, .disp = by});
  out_.mov(Width::w, guest_stack_pointer, second_scratch);
}

void Generator::legacy_push(Item const& item) {
  auto const& insn = item.insn;
  auto const& operand = insn.operands[0];
  auto const size = insn.stack_size;
  auto const below = -static_cast<i32>(size);
  if (operand.kind == OperandKind::memory) {
    out_.load(width_of(size), scratch, reach(item));
    out_.store(Width::q, VIREO_CONTEXT(address), scratch);
    auto const top = reach_stack(item, guest_stack_pointer, below, size, true);
    out_.load(Width::q, second_scratch, VIREO_CONTEXT(address));
    out_.store(width_of(size), top, second_scratch);
  } else {
    auto const top = reach_stack(item, guest_stack_pointer, below, size, true);
    if (operand.kind == OperandKind::gpr)
      out_.store(width_of(size), top, host(operand.reg));
    else
      out_.store_imm(width_of(size), top, static_cast<i32>(insn.immediate));
  }
  move_stack(guest_stack_pointer, below);
}

void Generator::legacy_pop(Item const& item) {
  if (item.insn.operands[0].kind == OperandKind::memory) return pop_to_memory(item);
  auto const size = item.insn.stack_size;
  auto const top = reach_stack(item, guest_stack_pointer, 0, size, false);
  out_.load(width_of(size), host(item.insn.operands[0].reg), top);
  move_stack(guest_stack_pointer, size);
}

void Generator::legacy_leave(Item const& item) {
  auto const size = item.insn.stack_size;
  auto const top = reach_stack(item, Reg::rbp, 0, size, false);
  out_.load(width_of(size), scratch, top);
  move_stack(Reg::rbp, size);
  out_.mov(width_of(size), Reg::rbp, scratch);
}

// ---- control flow ----

i64 Generator::legacy_target_of(Item const& item) const {
  auto const& insn = item.insn;
  auto const next = block().start + item.offset + insn.length;
  auto const target = next + static_cast<i64>(insn.immediate);
  if (mode_.flat_code) return target;
  auto const pointer = page_.pointer + target;
  auto const cut = insn.operand_size == 2 ? i64{static_cast<u16>(pointer)} : i64{static_cast<u32>(pointer)};
  return cut - page_.pointer;
}

bool Generator::beyond_limit(i64 target) const {
  return !mode_.code64() && !mode_.flat_code && page_.pointer + target > i64{page_.limit};
}

/// r10 is the new instruction pointer.
void Generator::check_limit(Item const& item) {
  auto const largest = item.insn.operand_size == 2 ? 0xffffu : 0xffffffffu;
  if (mode_.flat_code || page_.limit >= largest) return;
  auto& refused = cold(Cold::Kind::refused);
  refused.number = site(item, 0, false);
  out_.mov_imm(second_scratch, page_.limit);
  out_.alu(Alu::cmp, Width::q, scratch, second_scratch);
  out_.jcc(Cond::a, refused.entry);
}

void Generator::legacy_push_return_address(Item const& item) {
  auto const size = item.insn.operand_size;
  auto const top = reach_stack(item, guest_stack_pointer, -static_cast<i32>(size), size, true);
  auto const next = block().start + item.offset + item.insn.length;
  if (mode_.flat_code) {
    put_linear(second_scratch, item.offset + item.insn.length, Width::d);
    out_.store(width_of(size), top, second_scratch);
  } else {
    out_.store_imm(width_of(size), top, static_cast<i32>(page_.pointer + next));
  }
  move_stack(guest_stack_pointer, -static_cast<i32>(size));
}

void Generator::legacy_go_indirect(Item const& item) {
  out_.alu(Alu::add, Width::q, scratch, VIREO_CONTEXT(code_tag));
  go_indirect(item, 0);
}

void Generator::legacy_indirect(Item const& item) {
  auto const& insn = item.insn;
  auto const& operand = insn.operands[0];
  auto const from_size = width_of(insn.operand_size);
  lose_flags(item.flags_needed);
  if (operand.kind == OperandKind::memory) {
    legacy_address(item, insn.operand_size, false);
    check(item, insn.operand_size, false);
    out_.load_zx(from_size, scratch, {.base = scratch});
  } else if (from_size == Width::w) {
    out_.movzx(Width::w, scratch, host(operand.reg));
  } else {
    out_.mov(Width::d, scratch, host(operand.reg));
  }
  check_limit(item);
  if (item.kind == Kind::indirect_call) {
    out_.store(Width::q, VIREO_CONTEXT(target), scratch);
    legacy_push_return_address(item);
    out_.load(Width::q, scratch, VIREO_CONTEXT(target));
  }
  legacy_go_indirect(item);
}

void Generator::legacy_ret(Item const& item) {
  auto const size = item.insn.operand_size;
  auto const top = reach_stack(item, guest_stack_pointer, 0, size, false);
  out_.load_zx(width_of(size), scratch, top);
  check_limit(item);
  auto const extra = item.insn.operand_count != 0 ? static_cast<i32>(item.insn.immediate & 0xffff) : 0;
  move_stack(guest_stack_pointer, size + extra);
  legacy_go_indirect(item);
}

}  // namespace vireo::engine::soft::translate
