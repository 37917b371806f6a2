#include <cstddef>

#include "engine/soft/mmu/window.h"
#include "engine/soft/translate/generator.h"

namespace vireo::engine::soft::translate {

using x86::OperandKind;
using x86::SegmentRegister;

namespace {
constexpr i32 last_offset{4096};
constexpr u32 index_shift{7};  // page number to offset of its entry
constexpr i32 index_mask{(4096 - 1) * 32};
static_assert(sizeof(TlbEntry) == 32);

Mem entry_field(std::size_t offset) {
  return {.base = second_scratch, .disp = static_cast<i32>(offsetof(Window, tlb) + offset), .gs = true};
}
}  // namespace

// ---- flags ----

void Generator::lose_flags(u32 needed) {
  if (needed == 0) {
    flags_saved_ = false;
  } else if (!flags_saved_) {
    out_.pushfq();
    out_.lea(Width::q, Reg::rsp, in_context(8));
    flags_saved_ = true;
  }
  flags_in_register_ = false;
}

void Generator::restore_flags() {
  if (flags_in_register_) return;
  out_.lea(Width::q, Reg::rsp, in_context(static_cast<std::size_t>(-8)));
  out_.popfq();
  flags_in_register_ = true;
}

// ---- addresses ----

void Generator::put_linear(Reg to, u64 address) {
  out_.mov_imm(to, address);
  if (page_.relative) out_.alu(Alu::add, Width::q, to, VIREO_CONTEXT(delta));
}

void Generator::address(Item const& item) {
  auto const& insn = item.insn;
  auto const& memory = insn.memory;
  auto const width = insn.address_size == 8 ? Width::q : Width::d;
  if (memory.rip_relative) {
    put_linear(scratch, linear(item.offset + insn.length + memory.displacement));
    if (width == Width::d) out_.mov(Width::d, scratch, scratch);
  } else if (memory.displacement != static_cast<i32>(memory.displacement)) {
    out_.mov_imm(scratch, static_cast<u64>(memory.displacement));
  } else {
    auto const base = memory.base == x86::no_register ? Reg::none : host(memory.base);
    auto const index = memory.index == x86::no_register ? Reg::none : host(memory.index);
    if (index == Reg::none && base != Reg::none && memory.displacement == 0) {
      out_.mov(width, scratch, base);
    } else if (index == Reg::none && base == Reg::none) {
      auto const value = static_cast<u64>(memory.displacement);
      out_.mov_imm(scratch, width == Width::q ? value : static_cast<u32>(value));
    } else {
      out_.lea(width, scratch,
               {.base = base,
                .index = index,
                .scale = memory.scale,
                .disp = static_cast<i32>(memory.displacement)});
    }
  }
  if (mode_.code64() && memory.segment == SegmentRegister::fs)
    out_.alu(Alu::add, Width::q, scratch, VIREO_CONTEXT(fs_base));
  if (mode_.code64() && memory.segment == SegmentRegister::gs)
    out_.alu(Alu::add, Width::q, scratch, VIREO_CONTEXT(gs_base));
}

void Generator::check(Item const& item, u32 size, bool write) {
  auto& miss = cold(Cold::Kind::refill);
  miss.flags_saved = flags_saved_;
  miss.write = write;
  miss.number = site(item, static_cast<u8>(size), write);
  out_.mov(Width::d, second_scratch, scratch);
  out_.shift_imm(Shift::shr, Width::d, second_scratch, index_shift);
  out_.alu_imm(Alu::and_, Width::d, second_scratch, index_mask);
  out_.alu(Alu::xor_, Width::q, scratch, entry_field(write ? offsetof(TlbEntry, write) : offsetof(TlbEntry, read)));
  out_.alu_imm(Alu::cmp, Width::q, scratch, last_offset - static_cast<i32>(size));
  out_.jcc(Cond::a, miss.entry);
  out_.alu(Alu::add, Width::q, scratch, entry_field(offsetof(TlbEntry, page)));
  out_.bind(miss.back);
}

void Generator::check_at(Item const& item, Mem at, u32 size, bool write) {
  lose_flags(item.flags_needed);
  if (at.disp == 0)
    out_.mov(Width::q, scratch, at.base);
  else
    out_.lea(Width::q, scratch, at);
  check(item, size, write);
}

// ---- the stack, in 64-bit code ----

void Generator::push(Item const& item) {
  auto const& insn = item.insn;
  auto const& operand = insn.operands[0];
  auto const below = Mem{.base = guest_stack_pointer, .disp = -8};
  auto const top = Mem{.base = scratch};
  if (operand.kind == OperandKind::memory) {
    lose_flags(item.flags_needed);
    address(item);
    check(item, 8, false);
    out_.load(Width::q, scratch, top);
    out_.store(Width::q, VIREO_CONTEXT(address), scratch);
    check_at(item, below, 8, true);
    out_.load(Width::q, second_scratch, VIREO_CONTEXT(address));
    out_.store(Width::q, top, second_scratch);
  } else {
    check_at(item, below, 8, true);
    if (operand.kind == OperandKind::gpr)
      out_.store(Width::q, top, host(operand.reg));
    else
      out_.store_imm(Width::q, top, static_cast<i32>(insn.immediate));
  }
  out_.lea(Width::q, guest_stack_pointer, below);
}

void Generator::pop(Item const& item) {
  auto const to = host(item.insn.operands[0].reg);
  check_at(item, {.base = guest_stack_pointer}, 8, false);
  out_.load(Width::q, to, {.base = scratch});
  if (to != guest_stack_pointer)
    out_.lea(Width::q, guest_stack_pointer, {.base = guest_stack_pointer, .disp = 8});
}

void Generator::leave(Item const& item) {
  check_at(item, {.base = Reg::rbp}, 8, false);
  out_.lea(Width::q, guest_stack_pointer, {.base = Reg::rbp, .disp = 8});
  out_.load(Width::q, Reg::rbp, {.base = scratch});
}

void Generator::push_return_address(Item const& item) {
  auto const back = linear(item.offset + item.insn.length);
  auto const below = Mem{.base = guest_stack_pointer, .disp = -8};
  check_at(item, below, 8, true);
  if (!page_.relative && back == static_cast<u64>(static_cast<i64>(static_cast<i32>(back)))) {
    out_.store_imm(Width::q, {.base = scratch}, static_cast<i32>(back));
  } else {
    put_linear(second_scratch, back);
    out_.store(Width::q, {.base = scratch}, second_scratch);
  }
  out_.lea(Width::q, guest_stack_pointer, below);
}

}  // namespace vireo::engine::soft::translate
