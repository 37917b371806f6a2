#include "engine/soft/interp/differential_flags.h"

#include "x86/decoder.h"
#include "x86/table.h"

namespace vireo::engine::soft::differential {
namespace {

/// What Jcc, SETcc and CMOVcc with these opcode bits look at (SDM vol. 1, appendix B).
u32 flags_of_condition(u8 condition) {
  using namespace x86;
  switch (condition >> 1 & 7) {
    case 0: return flag_of;
    case 1: return flag_cf;
    case 2: return flag_zf;
    case 3: return flag_cf | flag_zf;
    case 4: return flag_sf;
    case 5: return flag_pf;
    case 6: return flag_sf | flag_of;
    default: return flag_zf | flag_sf | flag_of;
  }
}

u32 flags_read(x86::Instruction const& insn) {
  using enum x86::Operation;
  auto const conditional = insn.operation == setcc || insn.operation == cmovcc;
  return conditional ? flags_of_condition(insn.opcode) : x86::row_of(insn).flags.read;
}

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

}  // namespace

bool writes_flags_always(x86::Instruction const& insn) {
  return !x86::shifts_or_rotates(insn.operation) && !repeats(insn);
}

u32 dead_flags(Program const& program, u64 rip) {
  auto dead = u32{};
  auto undecided = x86::arithmetic_flags;
  auto const code = std::span{program.code};
  if (rip - program.rip() >= code.size()) return x86::arithmetic_flags;  // went astray: unknown code
  for (auto at = rip - program.rip(); at < code.size() && undecided != 0;) {
    auto insn = x86::Instruction{};
    if (x86::decode(code.subspan(at), program.code_size, true, insn) != x86::DecodeStatus::ok) break;
    undecided &= ~flags_read(insn);
    dead |= undecided & flags_overwritten(insn);
    undecided &= ~dead;
    if (x86::row_of(insn).ends_block()) break;
    at += insn.length;
  }
  return dead;
}

}  // namespace vireo::engine::soft::differential
