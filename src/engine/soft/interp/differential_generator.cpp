#include "engine/soft/interp/differential_generator.h"

#include <algorithm>
#include <span>

#include "engine/soft/interp/differential_flags.h"
#include "vocab/bytes.h"
#include "vocab/numbers.h"
#include "x86/decoder.h"
#include "x86/host_cpu.h"
#include "x86/table.h"

namespace vireo::engine::soft::differential {
namespace {

using x86::Attribute;
using x86::Family;
using x86::Operand;
using x86::OperandKind;
using x86::Operation;
using x86::RegisterFile;
using x86::Row;
using x86::SegmentRegister;

/// Instructions whose outcome is the machine's and not the processor's, or that would leave the harness.
bool left_out(Operation operation) {
  switch (operation) {
    using enum Operation;
    case cpuid:
    case rdtsc:
    case rdtscp:
    case rdpid:
    case rdrand:
    case rdseed:
    case rdpmc:
    case syscall:
    case sysenter:
    case sysexit:
    case sysret:
    case vmcall:
    case vmmcall:
    case int_:
    case int1:
    case int3:
    case iret:
    case ret_far:
    case call_far:
    case jmp_far:
    case mov_to_segment:
    case pop_segment:
    case les:
    case lds:
    case lfs:
    case lgs:
    case lss:
    case lar:
    case lsl:
    case verr:
    case verw:
    case sgdt:
    case sidt:
    case sldt:
    case str:
    case smsw:
    case monitor:
    case mwait:
    case rsm:
    case xsave:
    case xsavec:
    case xsaveopt:
    case xsaves:
    case xrstor:
    case xrstors:
    case xgetbv:
    case xsetbv:
    case wrfsbase:
    case wrgsbase: return true;
    default: return false;
  }
}

bool offered(Row const& row, x86::CpuidModel const& model) {
  return model.has(row.feature) && model.has(row.second_feature) && x86::host_has(row.feature) &&
         x86::host_has(row.second_feature);
}

Operand const* memory_operand(x86::Instruction const& insn) {
  for (auto i = 0uz; i < insn.operand_count; ++i)
    if (insn.operands[i].kind == OperandKind::memory) return &insn.operands[i];
  return nullptr;
}

bool is_stack(Operation operation) {
  switch (operation) {
    using enum Operation;
    case push:
    case pop:
    case pushf:
    case popf:
    case call_near:
    case ret_near:
    case enter:
    case leave:
    case push_segment: return true;
    default: return false;
  }
}

/// Where processors leave a trace of an access that faulted: MXCSR's flags set, or a first part written; and
/// masked stores, whose faults on unselected bytes depend on the model.
bool must_not_fault(x86::Instruction const& insn) {
  switch (insn.operation) {
    using enum Operation;
    case vcvtps2ph:
    case maskmovq:
    case maskmovdqu:
    case fbstp: return true;
    case fstp: return insn.operands[0].size == 10;
    default: return false;
  }
}

constexpr u64 low32{0xffff'ffff};

}  // namespace

Generator::Generator(u64 seed, x86::CodeSize code_size, x86::CpuidModel const& model)
    : random_{seed}, code_size_{code_size}, area_{code_size == x86::CodeSize::bits16 ? 0 : scratch_base} {
  for (auto const& row : x86::table()) {
    if (!(row.modes & (1 << static_cast<unsigned>(code_size))) || left_out(row.operation) ||
        !offered(row, model))
      continue;
    (row.family == Family::vector ? vector_ : integer_).push_back(&row);
  }
}

std::vector<Row const*> Generator::rows() const {
  auto all = integer_;
  all.insert(all.end(), vector_.begin(), vector_.end());
  return all;
}

Scratch Generator::scratch() {
  auto bytes = Scratch{};
  for (auto i = 0uz; i < bytes.size(); i += 16) fill_vector(bytes.data() + i);
  return bytes;
}

u64 Generator::value() {
  auto const any = random_.number();
  switch (random_.below(12)) {
    case 0: return any & 0xff;
    case 1: return any & 0xffff;
    case 2: return any & low32;
    case 3: return ~u64{0};
    case 4: return u64{0} - (any & 0xff);
    case 5: return u64{1} << (any & 63);
    case 6: return (u64{1} << (any & 63)) - 1;
    case 7: return 0x8000'0000'0000'0000;
    case 8: return area_ + any % writable_bytes;
    case 9: return any & 1 ? 0x8000'0000 : 0x7fff'ffff;
    default: return any;
  }
}

/// 64 bits of a vector register: integers, and floating-point numbers of both widths.
u64 Generator::lane() {
  auto const any = random_.number();
  auto const single = [&](u64 from) -> u64 {
    constexpr std::array<u32, 16> edges{0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000,
                                        0x7fc00000, 0x7fa00000, 0x00000001, 0x007fffff, 0x00800000, 0x7f7fffff,
                                        0x4f000000, 0xcf000000, 0x5f000000, 0x3effffff};
    if (from & 0x100) return edges[from & 15];
    return (from >> 9 & 0x007fffff) | (118 + (from >> 40) % 20) << 23 | (from & 1) << 31;
  };
  switch (random_.below(6)) {
    case 0: return single(any) | single(random_.number()) << 32;
    case 1: {
      constexpr std::array<u64, 16> edges{0,
                                          0x8000000000000000,
                                          0x3ff0000000000000,
                                          0xbff0000000000000,
                                          0x7ff0000000000000,
                                          0xfff0000000000000,
                                          0x7ff8000000000000,
                                          0x7ff4000000000000,
                                          1,
                                          0x000fffffffffffff,
                                          0x0010000000000000,
                                          0x7fefffffffffffff,
                                          0x41e0000000000000,
                                          0xc1e0000000200000,
                                          0x43e0000000000000,
                                          0x3fdfffffffffffff};
      return edges[any & 15];
    }
    case 2: return (any >> 12) | (1018 + any % 12) << 52 | (any & 1) << 63;
    case 3: return any & 0x00ff00ff00ff00ff;
    default: return any;
  }
}

void Generator::fill_vector(u8* bytes) {
  store_le<u64>(bytes, lane());
  store_le<u64>(bytes + 8, lane());
}

void Generator::fill_x87(ExtendedState& state) {
  auto const any = random_.number();
  state.fcw = static_cast<u16>(0x7f | (any & 0x0f00) | 0x40);
  if (random_.one_in(8)) state.fcw = static_cast<u16>(state.fcw & ~(random_.number() & 0x3f));
  state.fsw = static_cast<u16>(random_.number() & 0x7f7f);
  if (!random_.one_in(4)) state.fsw &= 0x7f00;
  // The summary bits follow from unmasked exceptions (SDM vol. 1, 8.1.3.3).
  if (state.fsw & ~state.fcw & 0x3f) state.fsw |= 0x8080;
  state.ftw = static_cast<u8>(random_.number() | random_.number());
  if (random_.one_in(3)) state.ftw = 0xff;
  state.fop = static_cast<u16>(random_.number() & 0x7ff);
  state.fip = scratch_base + random_.below(0x1000);
  state.fdp = scratch_base + random_.below(0x1000);
  for (auto& reg : state.st) {
    auto mantissa = random_.number() | u64{1} << 63;
    auto exponent = 0x3fff + random_.below(40) - 20;
    switch (random_.below(14)) {
      case 0: mantissa = 0, exponent = 0; break;
      case 1: mantissa = u64{1} << 63, exponent = 0x7fff; break;
      case 2: mantissa = 0xc000'0000'0000'0000 | random_.below(4), exponent = 0x7fff; break;
      case 3: mantissa = 0xa000'0000'0000'0000, exponent = 0x7fff; break;
      case 4: mantissa = random_.number() >> 1, exponent = 0; break;
      case 5: exponent = 0; break;                      // pseudo-denormal
      case 6: mantissa = random_.number() >> 1; break;  // unnormal
      case 7: mantissa = u64{1} << 63; break;
      case 8: exponent = random_.number() & 0x7fff; break;
      case 9: mantissa = ~u64{0}, exponent = 0x7ffe; break;
      default: break;
    }
    store_le<u64>(reg.bytes, mantissa);
    store_le<u16>(reg.bytes + 8, static_cast<u16>(exponent | (random_.number() & 1) << 15));
  }
}

Registers Generator::registers() {
  auto result = Registers{};
  for (auto& reg : result.gpr) reg = value();
  if (!code64())
    for (auto i = 0uz; i < 16; ++i) result.gpr[i] = i < 8 ? result.gpr[i] & low32 : 0;
  result.gpr[x86::rsp] = area_ + 0x800 + random_.below(256) * 8;
  result.rflags = x86::flag_fixed | x86::flag_if | (random_.number() & x86::arithmetic_flags);
  if (random_.one_in(8)) result.rflags |= x86::flag_df;
  result.fs_base = fs_base_ = scratch_base - 0x1'0000 + random_.below(0x100) * 16;
  result.gs_base = gs_base_ = scratch_base - 0x2'0000 + random_.below(0x100) * 16;
  auto& extended = result.extended;
  extended.mxcsr = 0x1f80;
  if (random_.one_in(2)) extended.mxcsr |= static_cast<u32>(random_.number() & 0xe07f);
  if (random_.one_in(12)) extended.mxcsr &= ~static_cast<u32>(random_.number() & 0x1f80);
  fill_x87(extended);
  for (auto i = 0; i < 16; ++i) {
    fill_vector(extended.xmm[i].bytes);
    fill_vector(extended.ymm_high[i].bytes);
  }
  extended.xstate_bv = 7;
  return result;
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
