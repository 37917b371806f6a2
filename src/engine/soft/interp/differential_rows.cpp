#include "engine/soft/interp/differential_rows.h"

#include "x86/host_cpu.h"

namespace vireo::engine::soft::differential {
namespace {

using x86::Operand;
using x86::OperandKind;
using x86::Operation;
using x86::Row;

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

}  // namespace

std::vector<Row const*> user_rows(x86::CodeSize code_size, x86::CpuidModel const& model) {
  auto rows = std::vector<Row const*>{};
  for (auto const& row : x86::table()) {
    auto const encodable = (row.modes & (1 << static_cast<unsigned>(code_size))) != 0;
    if (encodable && !left_out(row.operation) && offered(row, model)) rows.push_back(&row);
  }
  return rows;
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

}  // namespace vireo::engine::soft::differential
