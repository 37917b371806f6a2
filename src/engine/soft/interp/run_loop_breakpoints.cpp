#include "engine/soft/interp/run_loop_breakpoints.h"

namespace vireo::engine::soft {
namespace {

using x86::Instruction;
using x86::OperandKind;
using x86::Operation;
using x86::SegmentRegister;

enum class Condition : u8 { execute, write, io, read_write };

struct Breakpoint {
  bool enabled{};
  Condition condition{};
  u64 length{};  // 1, 2, 4, 8
};
Breakpoint breakpoint(u64 dr7, u32 number) {
  constexpr u8 lengths[]{1, 2, 8, 4};
  return {.enabled = (dr7 >> (2 * number) & 3) != 0,
          .condition = static_cast<Condition>(dr7 >> (16 + 4 * number) & 3),
          .length = lengths[dr7 >> (18 + 4 * number) & 3]};
}

u64 linear(Cpu const& cpu, SegmentRegister segment, u64 offset) {
  if (!cpu.code64()) return static_cast<u32>(cpu.state.seg(segment).base + offset);
  return segment >= SegmentRegister::fs ? cpu.state.seg(segment).base + offset : offset;
}
u64 truncate(u64 value, u8 size) {
  if (size == 8) return value;
  return size == 4 ? static_cast<u32>(value) : static_cast<u16>(value);
}

/// Bytes that the stack grows (positive) or shrinks by; 0 for what does not use it.
i64 stack_growth(Instruction const& insn) {
  using enum Operation;
  auto const size = i64{insn.stack_size};
  switch (insn.operation) {
    case push:
    case pushf:
    case push_segment:
    case enter: return size;
    case call_near: return i64{insn.operand_size};
    case call_far: return 2 * i64{insn.operand_size};
    case pusha: return 8 * size;
    case pop:
    case popf:
    case pop_segment:
    case leave: return -size;
    case ret_near: return -i64{insn.operand_size};
    case ret_far: return -2 * i64{insn.operand_size};
    case popa: return -8 * size;
    default: return 0;
  }
}
bool is_string(Operation operation) {
  using enum Operation;
  return operation == movs || operation == cmps || operation == stos || operation == lods ||
         operation == scas || operation == ins || operation == outs;
}

}  // namespace

u64 execution_breakpoints(Cpu const& cpu, u64 linear_rip) {
  auto hits = u64{};
  for (auto i = 0u; i < 4; ++i) {
    auto const point = breakpoint(cpu.state.dr7, i);
    if (point.enabled && point.condition == Condition::execute && cpu.state.dr[i] == linear_rip)
      hits |= u64{1} << i;
  }
  return hits;
}

bool watches_data(Cpu const& cpu) {
  for (auto i = 0u; i < 4; ++i) {
    auto const point = breakpoint(cpu.state.dr7, i);
    if (point.enabled && (point.condition == Condition::write || point.condition == Condition::read_write))
      return true;
  }
  return false;
}

std::vector<DataAccess> data_accesses(Cpu const& cpu, Instruction const& insn) {
  using enum Operation;
  auto accesses = std::vector<DataAccess>{};
  if (is_string(insn.operation)) {
    auto const size = u64{insn.operands[insn.operation == outs ? 1 : 0].size};
    auto const at = [&](SegmentRegister segment, u8 reg) {
      return linear(cpu, segment, truncate(cpu.state.gpr[reg], insn.address_size));
    };
    auto const op = insn.operation;
    if (op != stos && op != scas && op != ins)
      accesses.push_back({at(insn.memory.segment, x86::rsi), size, false});
    if (op != lods && op != outs) {
      accesses.push_back({at(SegmentRegister::es, x86::rdi), size, op == movs || op == stos || op == ins});
    }
    return accesses;
  }
  for (auto i = 0u; i < insn.operand_count; ++i) {
    auto const& operand = insn.operands[i];
    if (operand.kind != OperandKind::memory || (!operand.read && !operand.written) || insn.operation == lea)
      continue;
    auto const address = linear(cpu, insn.memory.segment, cpu.effective_address(insn));
    accesses.push_back({address, operand.size, operand.written});
  }
  if (auto const growth = stack_growth(insn); growth != 0) {
    auto const bytes = static_cast<u64>(growth < 0 ? -growth : growth);
    auto const top = insn.operation == leave ? cpu.state.gpr[x86::rbp] : cpu.state.gpr[x86::rsp];
    auto const at = truncate(growth > 0 ? top - bytes : top, cpu.stack_address_size());
    accesses.push_back({linear(cpu, SegmentRegister::ss, at), bytes, growth > 0});
  }
  return accesses;
}

u64 data_breakpoints(Cpu const& cpu, std::vector<DataAccess> const& accesses) {
  auto hits = u64{};
  for (auto i = 0u; i < 4; ++i) {
    auto const point = breakpoint(cpu.state.dr7, i);
    if (!point.enabled || (point.condition != Condition::write && point.condition != Condition::read_write))
      continue;
    auto const start = cpu.state.dr[i] & ~(point.length - 1);
    for (auto const& access : accesses) {
      auto const meets = access.linear < start + point.length && start < access.linear + access.length;
      if (meets && (access.write || point.condition == Condition::read_write)) hits |= u64{1} << i;
    }
  }
  return hits;
}

}  // namespace vireo::engine::soft
