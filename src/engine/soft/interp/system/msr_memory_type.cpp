#include "engine/soft/interp/system/msr.h"

// Memory types are remembered and have no effect: all guest memory is the host's write-back memory (SDM vol.
// 3, 12.11, 12.12).
namespace vireo::engine::soft::system {

namespace {

constexpr u32 msr_mtrr_capabilities{0xfe}, msr_mtrr_variable{0x200}, msr_pat{0x277}, msr_mtrr_default{0x2ff};
constexpr u64 mtrr_capabilities{0x508};  // 8 variable ranges, fixed ranges, write-combining
constexpr u64 mtrr_variable_valid{1u << 11};

bool valid_type(u64 type) { return type == 0 || type == 1 || (type >= 4 && type <= 6); }
bool all_valid(u64 eight_types, bool with_uncached_minus) {
  for (auto i = 0; i < 8; ++i) {
    auto const type = eight_types >> (8 * i) & 0xff;
    if (!valid_type(type) && !(with_uncached_minus && type == 7)) return false;
  }
  return true;
}

bool read_pat(Cpu& cpu, u32, u64& value) {
  value = cpu.state.pat;
  return true;
}
bool write_pat(Cpu& cpu, u32, u64 value) {
  if (!all_valid(value, true)) return false;
  cpu.state.pat = value;
  return true;
}

bool read_capabilities(Cpu&, u32, u64& value) {
  value = mtrr_capabilities;
  return true;
}
bool read_default(Cpu& cpu, u32, u64& value) {
  value = cpu.state.mtrr_def_type;
  return true;
}
bool write_default(Cpu& cpu, u32, u64 value) {
  if ((value & ~u64{0xcff}) || !valid_type(value & 0xff)) return false;
  cpu.state.mtrr_def_type = value;
  return true;
}

std::size_t fixed_index(u32 index) {
  return index == 0x250 ? 0 : index < 0x268 ? index - 0x258 + 1 : index - 0x268 + 3;
}
bool read_fixed(Cpu& cpu, u32 index, u64& value) {
  value = cpu.state.mtrr_fixed[fixed_index(index)];
  return true;
}
bool write_fixed(Cpu& cpu, u32 index, u64 value) {
  if (!all_valid(value, false)) return false;
  cpu.state.mtrr_fixed[fixed_index(index)] = value;
  return true;
}

bool read_variable(Cpu& cpu, u32 index, u64& value) {
  value = cpu.state.mtrr_variable[index - msr_mtrr_variable];
  return true;
}
bool write_variable(Cpu& cpu, u32 index, u64 value) {
  auto const is_mask = index & 1;
  if (value >> cpu.mmu.physical_address_bits() != 0) return false;
  if (is_mask ? (value & 0xfff & ~mtrr_variable_valid) != 0 : (value & 0xf00) != 0 || !valid_type(value & 0xff))
    return false;
  cpu.state.mtrr_variable[index - msr_mtrr_variable] = value;
  return true;
}

constexpr MsrRow rows[]{
    {msr_mtrr_capabilities, msr_mtrr_capabilities, read_capabilities, nullptr},
    {msr_mtrr_variable, msr_mtrr_variable + 15, read_variable, write_variable},
    {0x250, 0x250, read_fixed, write_fixed},
    {0x258, 0x259, read_fixed, write_fixed},
    {0x268, 0x26f, read_fixed, write_fixed},
    {msr_pat, msr_pat, read_pat, write_pat},
    {msr_mtrr_default, msr_mtrr_default, read_default, write_default},
};

}  // namespace

std::span<MsrRow const> memory_type_msrs() { return rows; }

}  // namespace vireo::engine::soft::system
