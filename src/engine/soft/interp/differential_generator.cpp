#include "engine/soft/interp/differential_generator.h"

#include <algorithm>
#include <span>

#include "engine/soft/interp/differential_flags.h"
#include "engine/soft/interp/differential_rows.h"
#include "vocab/bytes.h"
#include "vocab/numbers.h"
#include "x86/decoder.h"
#include "x86/table.h"

namespace vireo::engine::soft::differential {
namespace {

using x86::Attribute;
using x86::Family;
using x86::OperandKind;
using x86::Operation;
using x86::RegisterFile;
using x86::Row;
using x86::SegmentRegister;

constexpr u64 low32{0xffff'ffff};

}  // namespace

Generator::Generator(u64 seed, x86::CodeSize code_size, x86::CpuidModel const& model)
    : Values{seed, code_size} {
  for (auto const* row : user_rows(code_size, model))
    (row->family == Family::vector ? vector_ : integer_).push_back(row);
}

std::vector<Row const*> Generator::rows() const {
  auto all = integer_;
  all.insert(all.end(), vector_.begin(), vector_.end());
  return all;
}

void Generator::emit(std::initializer_list<unsigned> bytes) {
  for (auto const byte : bytes) prelude_.push_back(static_cast<u8>(byte));
}
void Generator::emit_le(u64 number, unsigned bytes) {
  for (auto i = 0u; i < bytes; ++i) prelude_.push_back(static_cast<u8>(number >> (8 * i)));
}
/// MOV reg, immediate. `narrow`: only the low half counts, so the rest is noise.
void Generator::emit_mov(u8 reg, u64 number, bool narrow) {
  if (!code64()) {
    if (code16()) emit({0x66});
    emit({0xb8u + reg});
    return emit_le(number, 4);
  }
  if (narrow) number = (number & low32) | random_.number() << 32;
  emit({reg >= 8 ? 0x49u : 0x48u, 0xb8u + (reg & 7u)});
  emit_le(number, 8);
}

void Generator::patch(Instruction& insn, unsigned offset, u64 number, unsigned bytes) {
  auto copy = insn.bytes;
  for (auto i = 0u; i < bytes; ++i) copy[offset + i] = static_cast<u8>(number >> (8 * i));
  decode({copy.data(), insn.length}, insn);
}

bool Generator::decode(std::span<u8 const> bytes, Instruction& insn) const {
  return x86::decode(bytes, code_size_, true, insn) == x86::DecodeStatus::ok;
}

u64 Generator::target_for(Instruction const& insn) {
  auto const& row = x86::row_of(insn);
  auto size = u64{memory_operand(insn)->size};
  if (size == 0) size = row.operation == Operation::fxsave || row.operation == Operation::fxrstor ? 512 : 1;
  auto const alignment = u64{x86::required_alignment(insn)};
  auto offset = random_.below(writable_bytes - size + 1);
  if (must_not_fault(insn)) return area_ + offset;
  // A wild 32-bit address might be one of the harness' own.
  if (!code64() && random_.one_in(50)) return 0x1000'0000 + random_.below(0x1000'0000);
  if (random_.one_in(10))
    offset = page_size * (1 + random_.below(3)) - 1 - random_.below(size + 4);  // at a page's end
  if (random_.one_in(40)) offset = writable_bytes + random_.below(0x800);
  if (!random_.one_in(16)) offset &= ~(alignment - 1);
  return area_ + offset;
}

/// With one register as base and index not every address can be had.
u64 Generator::distance_from_reachable(Instruction const& insn, u64 target) const {
  if (insn.memory.segment == SegmentRegister::fs) target -= fs_base_;
  if (insn.memory.segment == SegmentRegister::gs) target -= gs_base_;
  auto const sum = target - static_cast<u64>(insn.memory.displacement);
  return (insn.address_size == 4 ? sum & low32 : sum) % (1u + insn.memory.scale);
}

/// Makes the memory operand mean `target`, by registers set beforehand or by the displacement.
void Generator::place_memory(Instruction& insn, u64 target) {
  auto const& memory = insn.memory;
  auto const narrow = insn.address_size == 4;
  if (insn.address_size == 2 && !code16()) return;  // out of reach
  if (memory.segment == SegmentRegister::fs) target -= fs_base_;
  if (memory.segment == SegmentRegister::gs) target -= gs_base_;
  auto const displacement = static_cast<u64>(memory.displacement);
  if (insn.has_modrm && memory.rip_relative) {
    auto const next = here_ + prelude_.size() + insn.length;
    return patch(insn, insn.modrm_offset + 1u, target - next, 4);
  }
  if (memory.base == x86::no_register) {
    auto index = u64{0};
    if (memory.index != x86::no_register) {
      index = random_.below(128) - 64;
      emit_mov(memory.index, index, narrow);
    }
    if (!insn.has_modrm) return patch(insn, insn.immediate_offset, target, insn.address_size);
    auto const narrowest = insn.address_size == 2;
    auto const sib = !narrowest && (insn.modrm & 7) == 4 ? 1u : 0u;
    return patch(insn, insn.modrm_offset + 1u + sib, target - index * memory.scale, narrowest ? 2 : 4);
  }
  if (memory.index == memory.base) {
    auto const sum = target - displacement;
    return emit_mov(memory.base, (narrow ? sum & low32 : sum) / (1u + memory.scale), narrow);
  }
  auto index = u64{0};
  if (memory.index != x86::no_register) {
    index = random_.below(128) - 64;
    emit_mov(memory.index, index, narrow);
  }
  emit_mov(memory.base, target - displacement - index * memory.scale, narrow);
}

void Generator::prepare_string(Instruction const& insn) {
  auto const narrow = insn.address_size == 4;
  auto const place = [&] {
    auto const near_end = random_.one_in(10);
    return area_ +
           (near_end ? page_size * (1 + random_.below(2)) - random_.below(80) : 0x200 + random_.below(0x1c00));
  };
  auto source = place();
  if (insn.memory.segment == SegmentRegister::fs) source -= fs_base_;
  if (insn.memory.segment == SegmentRegister::gs) source -= gs_base_;
  emit_mov(x86::rsi, source, narrow);
  emit_mov(x86::rdi, place(), narrow);
  if (insn.prefixes.rep || insn.prefixes.repne) emit_mov(x86::rcx, random_.below(24), narrow);
}

void Generator::prepare_stack(Instruction const& insn) {
  auto const place = [&] {
    return area_ + 0x400 + (random_.one_in(16) ? random_.below(0x1000) : random_.below(0x200) * 8);
  };
  emit_mov(x86::rsp, place());
  if (insn.operation == Operation::leave || insn.operation == Operation::enter) emit_mov(x86::rbp, place());
  if (insn.operation == Operation::popf) {
    if (code16()) emit({0x66});
    emit({0x68});  // push imm32
    emit_le(random_.number() & (x86::arithmetic_flags | x86::flag_df | x86::flag_id | x86::flag_if | 0x3000),
            4);
  }
  if (insn.operation == Operation::ret_near) {
    auto const width = code16() ? insn.operand_size : 4u;
    if (code16() && width == 4) emit({0x66});
    emit({0x68});
    emit_le(here_ + prelude_.size() + width + insn.length, width);
  }
}

/// Indices of a gather, and its mask: from the tables, so that elements lie around the base.
void Generator::prepare_gather(Instruction const& insn) {
  auto const load = [&](u8 reg, u64 offset) {
    if (code16()) emit({0x67});
    emit({0xc4, reg >= 8 ? 0x61u : 0xe1u, 0x7e, 0x6f, (reg & 7u) << 3 | 4u, 0x25});  // vmovdqu ymm, [offset]
    emit_le(area_ + offset, 4);
  };
  auto const wide_index = insn.opcode & 1;
  load(insn.memory.vector_index, (wide_index ? qword_indices : dword_indices) + random_.below(32) * 8);
  load(insn.operands[2].reg, masks + random_.below(60) * 8);
}

/// FIP and FDP that are not canonical: some processors keep them, others extend the sign.
void Generator::clear_upper_pointers(u64 image) {
  for (auto const offset : {12u, 20u}) {
    if (code16()) emit({0x66, 0x67});
    emit({0xc7, 0x04, 0x25});  // mov dword [image + offset], 0
    emit_le(image + offset, 4);
    emit_le(0, 4);
  }
}

/// Branches lead to the instruction behind them; add_element() makes some skip one more.
void Generator::aim_branch(Instruction& insn) {
  auto const& operand = insn.operands[0];
  if (operand.kind == OperandKind::relative) return patch(insn, insn.immediate_offset, 0, operand.size);
  if (operand.kind == OperandKind::gpr && (operand.size >= 4 || code16()))
    emit_mov(operand.reg, here_ + prelude_.size() + mov_bytes() + insn.length);
}

/// Stores the address behind the branch where it will read its target: at a target that is not canonical,
/// processors differ in what they have written before #GP.
void Generator::aim_indirect_branch(Instruction& insn) {
  auto target = area_ + 0x100 + random_.below(0x200);
  auto const& memory = insn.memory;
  if (memory.base != x86::no_register && memory.base == memory.index)
    target -= distance_from_reachable(insn, target);
  if (code64()) emit({0x48});
  if (code16()) emit({0x66, 0x67});
  emit({0xc7, 0x04, 0x25});  // mov qword [target], imm32
  emit_le(target, 4);
  auto const immediate = prelude_.size();
  emit_le(0, 4);
  place_memory(insn, target);
  store_le<u32>(prelude_.data() + immediate, static_cast<u32>(here_ + prelude_.size() + insn.length));
}

void Generator::prepare_operands(Instruction& insn) {
  auto const& row = x86::row_of(insn);
  auto const operation = insn.operation;
  auto const* const memory = memory_operand(insn);
  auto const bit_offset = (operation == Operation::bt || operation == Operation::bts ||
                           operation == Operation::btr || operation == Operation::btc) &&
                          memory != nullptr && insn.operands[1].kind == OperandKind::gpr;
  if (bit_offset) emit_mov(insn.operands[1].reg, random_.below(8192) - 4096);
  if ((operation == Operation::div || operation == Operation::idiv) && !random_.one_in(3)) {
    emit_mov(x86::rdx, random_.below(8));
    if (random_.one_in(2)) emit_mov(x86::rax, value() & 0x7fff);
  }
  if (is_stack(operation)) prepare_stack(insn);
  if (row.has(Attribute::repeatable)) return prepare_string(insn);
  if (insn.memory.vector_index != x86::no_register) prepare_gather(insn);
  if (memory != nullptr && (operation == Operation::jmp_near || operation == Operation::call_near))
    return aim_indirect_branch(insn);
  if (memory != nullptr && (must_not_fault(insn) || !code64() || !random_.one_in(50))) {
    auto const target = target_for(insn);
    if (operation == Operation::fxrstor && insn.operand_size == 8) clear_upper_pointers(target);
    place_memory(insn, target);
  }
  if (operation == Operation::jcc || operation == Operation::jcxz || operation == Operation::loop ||
      operation == Operation::loope || operation == Operation::loopne || operation == Operation::jmp_near ||
      operation == Operation::call_near)
    aim_branch(insn);
}

bool Generator::suits(Instruction const& insn, u32 undefined_flags) const {
  auto const& row = x86::row_of(insn);
  auto const& list = row.family == Family::vector ? vector_ : integer_;
  auto const segment = insn.memory.segment;
  auto const unusable =
      (insn.address_size == 2 && !code16()) || segment >= SegmentRegister::fs || segment == SegmentRegister::cs;
  if (!code64() && unusable && must_not_fault(insn)) return false;
  // Its target would be code bytes: mostly beyond the limit, and what CALL has pushed by then differs.
  if (code16() && insn.operation == Operation::call_near && segment == SegmentRegister::cs) return false;
  return (row.flags.read & undefined_flags) == 0 && std::ranges::find(list, &row) != list.end();
}

bool Generator::draw(Instruction& insn) {
  auto const& list = random_.one_in(2) ? integer_ : vector_;
  auto const bytes = random_.sample(*list[random_.below(list.size())], code_size_);
  return decode(bytes, insn);
}

bool Generator::add_element(Program& program) {
  auto insn = Instruction{};
  auto const undefined_before = program.elements.empty() ? 0 : program.elements.back().undefined_flags;
  if (!draw(insn) || !suits(insn, undefined_before)) return false;
  auto element = Element{.start = static_cast<u32>(program.code.size())};
  prelude_.clear();
  here_ = program.rip() + program.code.size();
  prepare_operands(insn);
  program.code.insert(program.code.end(), prelude_.begin(), prelude_.end());
  element.instruction = static_cast<u32>(program.code.size());
  program.code.insert(program.code.end(), insn.bytes.begin(), insn.bytes.begin() + insn.length);
  element.end = static_cast<u32>(program.code.size());
  element.row = insn.row;
  auto const& flags = x86::row_of(insn).flags;
  auto const written = writes_flags_always(insn) ? flags.written : 0;
  element.undefined_flags = (undefined_before & ~written) | flags.undefined;
  if (!program.elements.empty()) {
    auto& before = program.elements.back();
    auto branch = Instruction{};
    decode(std::span{program.code}.subspan(before.instruction, before.end - before.instruction), branch);
    auto const conditional = branch.operation == Operation::jcc || branch.operation == Operation::jcxz ||
                             branch.operation == Operation::loop || branch.operation == Operation::loope ||
                             branch.operation == Operation::loopne;
    if (conditional && random_.one_in(2)) {
      program.code[before.instruction + branch.immediate_offset] = static_cast<u8>(element.end - before.end);
      before.may_end_here = false;
      element.undefined_flags = undefined_before | flags.undefined;
    }
  }
  program.elements.push_back(element);
  return true;
}

Program Generator::next(u64 at) {
  auto program = Program{.at = at, .code_size = code_size_, .code = {}, .elements = {}, .initial = registers()};
  auto const wanted = 1 + random_.below(4);
  for (auto tries = 0; tries < 100 && program.elements.size() < wanted; ++tries) add_element(program);
  return program;
}

}  // namespace vireo::engine::soft::differential
