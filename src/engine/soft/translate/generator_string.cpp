#include <cstddef>

#include "engine/soft/translate/generator.h"
#include "engine/vcpu_state.h"

// MOVS, STOS, LODS, CMPS and SCAS without REP, XLAT, POP to memory, and bit tests that reach beyond their
// operand.
namespace vireo::engine::soft::translate {

using x86::Operation;
using x86::SegmentRegister;

/// r10 = address within the segment -> r10 = host address.
void Generator::reach_offset(Item const& item, SegmentRegister segment, u32 size, bool write) {
  if (!mode_.code64()) {
    add_segment(item, segment, size, write);
  } else if (segment >= SegmentRegister::fs) {
    auto const gs = segment == SegmentRegister::gs;
    out_.alu(Alu::add, Width::q, scratch, gs ? VIREO_CONTEXT(gs_base) : VIREO_CONTEXT(fs_base));
  }
  check(item, size, write);
}

void Generator::cut_offset(u8 address_size) {
  if (address_size == 4) out_.mov(Width::d, scratch, scratch);
  if (address_size == 2) out_.movzx(Width::w, scratch, scratch);
}

void Generator::reach_string(Item const& item, SegmentRegister segment, Reg index, u32 size, bool write) {
  switch (item.insn.address_size) {
    case 2: out_.movzx(Width::w, scratch, index); break;
    case 4: out_.mov(Width::d, scratch, index); break;
    default: out_.mov(Width::q, scratch, index); break;
  }
  reach_offset(item, segment, size, write);
}

/// Leaves the flags.
void Generator::advance(Reg index, u8 address_size, i32 by) {
  auto const next = Mem{.base = index, .disp = by};
  if (address_size == 8) return out_.lea(Width::q, index, next);
  if (address_size == 4) return out_.lea(Width::d, index, next);
  out_.lea(Width::d, second_scratch, next);
  out_.mov(Width::w, index, second_scratch);
}

void Generator::string(Item const& item) {
  auto const& insn = item.insn;
  auto const operation = insn.operation;
  if (operation == Operation::xlat) return translate_byte(item);
  if (is_repeated(insn)) return call_system(item, trampolines_.repeat_string);
  auto const size = insn.opcode & 1 ? insn.operand_size : u8{1};
  auto const width = static_cast<Width>(size);
  auto const from_source =
      operation == Operation::movs || operation == Operation::lods || operation == Operation::cmps;
  auto const to_destination = operation != Operation::lods;
  auto const writes = operation == Operation::movs || operation == Operation::stos;
  lose_flags(item.flags_needed);
  auto& backwards = cold(Cold::Kind::refused);
  backwards.number = site(item, 0, false);
  out_.load(Width::q, scratch, VIREO_CONTEXT(guest));
  auto const rflags = offsetof(VcpuState, rflags) - offsetof(VcpuState, gpr);
  out_.test_imm(Width::d, {.base = scratch, .disp = static_cast<i32>(rflags)}, x86::flag_df);
  out_.jcc(Cond::ne, backwards.entry);
  if (from_source) {
    reach_string(item, insn.memory.segment, Reg::rsi, size, false);
    // Of two page faults, CMPS has that of its second operand first: the interpreter finds it.
    if (operation == Operation::cmps) cache_.sites.back().plain = false;
    if (to_destination) {
      out_.load(width, second_scratch, {.base = scratch});
      out_.store(Width::q, VIREO_CONTEXT(address), second_scratch);
    } else {
      out_.load(width, Reg::rax, {.base = scratch});
    }
  }
  if (to_destination) {
    reach_string(item, SegmentRegister::es, Reg::rdi, size, writes);
    if (from_source) out_.load(Width::q, second_scratch, VIREO_CONTEXT(address));
    auto const other = from_source ? second_scratch : Reg::rax;
    if (writes) {
      out_.store(width, {.base = scratch}, other);
    } else {
      out_.alu(Alu::cmp, width, other, {.base = scratch});
      flags_written();
    }
  }
  if (from_source) advance(Reg::rsi, insn.address_size, size);
  if (to_destination) advance(Reg::rdi, insn.address_size, size);
}

void Generator::translate_byte(Item const& item) {
  lose_flags(item.flags_needed);
  out_.movzx(Width::b, scratch, Reg::rax);
  out_.lea(Width::q, scratch, {.base = scratch, .index = Reg::rbx});
  cut_offset(item.insn.address_size);
  reach_offset(item, item.insn.memory.segment, 1, false);
  out_.load(Width::b, Reg::rax, {.base = scratch});
}

/// An address based on the stack pointer uses its value after the increment (SDM vol. 2, POP).
void Generator::pop_to_memory(Item const& item) {
  auto const size = item.insn.stack_size;
  auto const width = static_cast<Width>(size);
  auto const top = mode_.code64() ? reach_at(item, {.base = guest_stack_pointer}, size, false)
                                  : reach_stack(item, guest_stack_pointer, 0, size, false);
  out_.load(width, scratch, top);
  out_.store(Width::q, VIREO_CONTEXT(address), scratch);
  auto moved = item;
  if (moved.insn.memory.base == x86::rsp) moved.insn.memory.displacement += size;
  auto const to = in_scratch(reach(moved));
  out_.load(Width::q, second_scratch, VIREO_CONTEXT(address));
  out_.store(width, to, second_scratch);
  if (mode_.code64())
    out_.lea(Width::q, guest_stack_pointer, {.base = guest_stack_pointer, .disp = size});
  else
    move_stack(guest_stack_pointer, size);
}

// ---- BT, BTS, BTR, BTC with a bit number in a register ----

/// r11 = the number of units of the operand's size by which the bit lies beyond the operand. Loses the flags.
void Generator::bit_distance(x86::Operand const& number) {
  auto const width = static_cast<Width>(number.size);
  auto const bits_of_unit = number.size == 2 ? u8{4} : number.size == 4 ? u8{5} : u8{6};
  if (width == Width::q)
    out_.mov(Width::q, second_scratch, host(number.reg));
  else
    out_.movsx(width, second_scratch, host(number.reg));
  out_.shift_imm(Shift::sar, Width::q, second_scratch, bits_of_unit);
}

// The host's instruction adds the distance by itself.
void Generator::bit_test(Item const& item) {
  auto const& insn = item.insn;
  auto const& number = insn.operands[1];
  auto const size = number.size;
  auto const unit = Mem{.base = scratch, .index = second_scratch, .scale = size};
  lose_flags(item.flags_needed);
  if (mode_.code64())
    address(item);
  else
    offset_of_operand(item);
  bit_distance(number);
  out_.lea(Width::q, scratch, unit);
  if (mode_.code64()) {
    check(item, size, insn.operands[0].written);
  } else {
    cut_offset(insn.address_size);
    reach_offset(item, insn.memory.segment, size, insn.operands[0].written);
  }
  bit_distance(number);
  out_.neg(Width::q, second_scratch);
  out_.lea(Width::q, scratch, unit);
  if (item.flags_needed != 0) restore_flags();
  flags_written();
  reencode(out_, insn, map_, {.base = scratch});
}

}  // namespace vireo::engine::soft::translate
