#include "engine/soft/interp/system/msr.h"

#include <algorithm>
#include <vector>

#include "engine/soft/interp/system/lower_system.h"
#include "observe/log.h"

namespace vireo::engine::soft::system {

using namespace x86;

namespace {

std::vector<MsrRow> sorted_rows() {
  auto rows = std::vector<MsrRow>{};
  for (auto const group : {processor_msrs(), memory_type_msrs(), identity_msrs(), paravirt_msrs()}) {
    rows.insert(rows.end(), group.begin(), group.end());
  }
  std::ranges::sort(rows, {}, &MsrRow::first);
  return rows;
}

MsrRow const* find_row(u32 index) {
  static auto const rows = sorted_rows();
  auto const next = std::ranges::upper_bound(rows, index, {}, &MsrRow::first);
  if (next == rows.begin()) return nullptr;
  auto const& row = *std::prev(next);
  return index <= row.last ? &row : nullptr;
}

}  // namespace

bool read_msr(Cpu& cpu, u32 index, u64& value) {
  auto const* row = find_row(index);
  if (row != nullptr && row->read != nullptr) return row->read(cpu, index, value);
  if (row == nullptr)
    VIREO_LOG_GUEST(observe::Level::info, "engine", "vcpu {} reads unknown MSR {:#x}", cpu.id().value, index);
  return false;
}

bool write_msr(Cpu& cpu, u32 index, u64 value) {
  auto const* row = find_row(index);
  if (row != nullptr && row->write != nullptr) return row->write(cpu, index, value);
  if (row == nullptr) {
    VIREO_LOG_GUEST(observe::Level::info, "engine", "vcpu {} writes {:#x} to unknown MSR {:#x}", cpu.id().value,
                    value, index);
  }
  return false;
}

void rdmsr(Cpu& cpu, Instruction const&, void const*) {
  require_cpl0(cpu);
  auto value = u64{0};
  if (!read_msr(cpu, cpu.gpr<u32>(rcx), value)) raise_gp();
  set_edx_eax(cpu, value);
}

void wrmsr(Cpu& cpu, Instruction const&, void const*) {
  require_cpl0(cpu);
  if (!write_msr(cpu, cpu.gpr<u32>(rcx), edx_eax(cpu))) raise_gp();
}

}  // namespace vireo::engine::soft::system
