#include "engine/soft/interp/differential_flags.h"

#include "x86/decoder.h"
#include "x86/table.h"

namespace vireo::engine::soft::differential {
namespace {

/// REP counts for string instructions; before others it means nothing.
bool repeats(x86::Instruction const& insn) {
  return x86::row_of(insn).has(x86::Attribute::repeatable) && (insn.prefixes.rep || insn.prefixes.repne);
}

u32 flags_overwritten(x86::Instruction const& insn) {
  auto const count_bits = insn.operands[0].size == 8 ? 0x3fu : 0x1fu;
  auto const by_constant = insn.operand_count >= 2 && insn.immediate_offset < insn.length &&
                           (insn.immediate & count_bits) != 0 && !repeats(insn);
  auto const& flags = x86::row_of(insn).flags;
  auto const by_one = insn.map == 0 && (insn.opcode == 0xd0 || insn.opcode == 0xd1);
  return writes_flags_always(insn) || by_constant || by_one ? flags.written | flags.undefined : 0;
}

bool is_direct_jump(x86::Instruction const& insn) {
  using enum x86::Operation;
  return (insn.operation == jmp_near || insn.operation == call_near) &&
         insn.operands[0].kind == x86::OperandKind::relative;
}

constexpr auto most_looks{1000};  // at instructions: a jump may go back

/// Of the `undecided` flags, those that are overwritten before they are read.
u32 dead_from(Program const& program, u64 at, u32 undecided, int& left) {
  auto dead = u32{};
  auto const code = std::span{program.code};
  for (; left > 0 && at < code.size() && undecided != 0; --left) {
    auto insn = x86::Instruction{};
    if (x86::decode(code.subspan(at), program.code_size, true, insn) != x86::DecodeStatus::ok) break;
    undecided &= ~x86::flags_read(insn);
    dead |= undecided & flags_overwritten(insn);
    undecided &= ~dead;
    at += insn.length;
    if (insn.operation == x86::Operation::jcc) {
      auto const behind = dead_from(program, at + insn.immediate, undecided, --left);
      return dead | (behind & dead_from(program, at, undecided, --left));
    }
    if (is_direct_jump(insn))
      at += insn.immediate;
    else if (x86::row_of(insn).ends_block())
      break;
  }
  return dead;
}

}  // namespace

bool writes_flags_always(x86::Instruction const& insn) {
  return !x86::shifts_or_rotates(insn.operation) && !repeats(insn);
}

u32 dead_flags(Program const& program, u64 rip) {
  if (rip - program.rip() >= program.code.size()) return x86::arithmetic_flags;  // went astray: unknown code
  auto left = most_looks;
  return dead_from(program, rip - program.rip(), x86::arithmetic_flags, left);
}

}  // namespace vireo::engine::soft::differential
