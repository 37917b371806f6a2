#include <algorithm>

#include "engine/soft/interp/differential_rows.h"
#include "engine/soft/interp/random_blocks/elements.h"
#include "x86/decoder.h"

namespace vireo::engine::soft::differential {
namespace {

using x86::Attribute;
using x86::OperandKind;
using x86::Operation;

/// Left to the elements that prepare them, or to the test of single instructions.
bool needs_preparation(x86::Instruction const& insn) {
  switch (insn.operation) {
    using enum Operation;
    case pusha:
    case popa:
    case lahf:
    case std:
    case div:
    case idiv:
    case fxrstor:
    case ud0:
    case ud1:
    case ud2:
    case bound: return true;
    default: return is_stack(insn.operation) || must_not_fault(insn);
  }
}

/// Loads of control words out of random memory mostly end in a fault.
bool loads_control(Operation operation) {
  switch (operation) {
    using enum Operation;
    case ldmxcsr:
    case fldcw:
    case fldenv:
    case frstor: return true;
    default: return false;
  }
}

/// Processors differ in what #AC asks of them.
bool is_masked(Operation operation) {
  using enum Operation;
  return operation == vmaskmovps || operation == vmaskmovpd || operation == vpmaskmovd ||
         operation == vpmaskmovq;
}

bool is_bit_offset(x86::Instruction const& insn) {
  using enum Operation;
  auto const bit =
      insn.operation == bt || insn.operation == bts || insn.operation == btr || insn.operation == btc;
  return bit && insn.operands[1].kind == OperandKind::gpr;
}

}  // namespace

bool Elements::suits(x86::Instruction const& insn) const {
  auto const& row = x86::row_of(insn);
  if (row.ends_block() || row.has(Attribute::privileged) || row.has(Attribute::io_privileged) ||
      row.has(Attribute::repeatable) || needs_preparation(insn) || (row.flags.read & x86::flag_af))
    return false;
  if (may_fault_ && is_masked(insn.operation)) return false;
  for (auto const& operand : insn.operands)
    if (operand.kind == OperandKind::gpr && operand.written && !is_data(operand.reg)) return false;
  if (memory_operand(insn) == nullptr) return true;
  auto const& memory = insn.memory;
  return insn.has_modrm && memory.vector_index == x86::no_register && !is_bit_offset(insn) &&
         memory.segment < x86::SegmentRegister::fs && insn.address_size >= 4;
}

/// An instruction out of the table. Its memory operand becomes one through a pointer.
void Elements::sampled() {
  auto const& list = random_.one_in(3) ? integer_ : vector_;
  for (auto tries = 0; tries < 20; ++tries) {
    auto const bytes = random_.sample(*list[random_.below(list.size())], code_size_);
    auto insn = x86::Instruction{};
    if (x86::decode(bytes, code_size_, true, insn) != x86::DecodeStatus::ok) continue;
    auto const& row = x86::row_of(insn);
    if (std::ranges::find(list, &row) == list.end() || !suits(insn)) continue;
    if (loads_control(insn.operation) && !random_.one_in(8)) continue;
    if (memory_operand(insn) == nullptr)
      a_.bytes(insn.bytes.data(), insn.length);
    else if (!emit_with_pointer(insn))
      continue;
    if (row.flags.undefined & ~u32{x86::flag_af}) define_flags();
    return;
  }
}

/// Its prefixes stay, so one of the pointers has a number that they can mean.
bool Elements::emit_with_pointer(x86::Instruction const& insn) {
  auto const size = std::max<u32>(memory_operand(insn)->size, 1);
  for (auto const& pointer : pointers_) {
    auto const at = place_at(pointer, size, x86::required_alignment(insn));
    auto bytes = std::vector<u8>(insn.bytes.begin(), insn.bytes.begin() + insn.modrm_offset);
    bytes.push_back(static_cast<u8>(0x80 | (insn.modrm & 0x38) | (pointer.reg & 7)));
    for (auto shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<u8>(at.displacement >> shift));
    bytes.insert(bytes.end(), insn.bytes.begin() + insn.immediate_offset, insn.bytes.begin() + insn.length);
    auto changed = x86::Instruction{};
    if (bytes.size() > 15 || x86::decode(bytes, code_size_, true, changed) != x86::DecodeStatus::ok) continue;
    if (changed.row != insn.row || changed.memory.base != pointer.reg) continue;
    a_.bytes(bytes.data(), bytes.size());
    return true;
  }
  return false;
}

/// An instruction that gets another immediate while the program runs, or what gives it one.
void Elements::patch_code() {
  if (!modifies_itself_) return move();
  if (patchable_.size() < 2 || random_.one_in(3)) {
    auto const immediate = a_.label();
    if (random_.one_in(2))
      a_.opcode_register(0xb8, data_register(), 4);
    else
      a_.modrm({.opcode = 0x81, .immediate_bytes = 4}, slash(random_.below(8)), Gpr{data_register()});
    a_.bind(immediate);
    a_.number(random_.number(), 4);
    patchable_.push_back(immediate);
    return;
  }
  auto const target = patchable_[random_.below(patchable_.size())];
  switch (random_.below(4)) {
    case 0: return a_.modrm({.opcode = 0xff}, slash(0), target);                        // INC dword
    case 1: return a_.modrm({.opcode = 0x01, .lock = true}, {any_register()}, target);  // ADD
    case 2: return a_.modrm({.opcode = 0x88, .width = 1}, byte_register(false, false), target);
    default: return a_.modrm({.opcode = 0x89}, {any_register()}, target);
  }
}

/// Ends the program, or goes where accesses may fail.
void Elements::fault() {
  if (!may_fault_ || !random_.one_in(3)) return move();
  auto const size = width();
  switch (random_.below(8)) {
    case 0: return arithmetic_on({.displacement = static_cast<i32>(scratch_base - random_.below(10))}, size);
    case 1:
      return arithmetic_on({.displacement = static_cast<i32>(scratch_base + scratch_bytes - random_.below(10))},
                           size);
    case 2:
      return arithmetic_on(
          {.displacement = static_cast<i32>(scratch_base + writable_bytes - random_.below(10))}, size);
    case 3: {
      auto const base = data_register();
      a_.mov_immediate(base, code64() ? 0x8000'0000'0000 + random_.number() % 0x1000 : u64{0x10});
      return arithmetic_on({.base = base, .displacement = -4}, size);
    }
    case 4: return a_.bytes({0xcc});
    case 5: return a_.bytes({0x0f, 0x0b});
    case 6:
    default: {  // single-step, or alignment checks
      a_.bytes({0x9c});
      a_.modrm({.opcode = 0x81, .immediate_bytes = 4}, slash(1), Place{.base = x86::rsp});
      a_.number(random_.one_in(4) ? u32{x86::flag_tf} : u32{x86::flag_ac}, 4);
      a_.bytes({0x9d});
      return move();
    }
  }
}

}  // namespace vireo::engine::soft::differential
