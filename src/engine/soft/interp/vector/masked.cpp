#include <algorithm>
#include <array>
#include <cstring>

#include "engine/soft/interp/vector/enables.h"
#include "engine/soft/interp/vector/family.h"
#include "engine/soft/interp/vector/x87_environment.h"

// Instructions that touch memory element by element under a mask: no access, and so no fault, where the mask is
// clear.
namespace vireo::engine::soft::vector {
namespace {

using x86::Instruction;
using x86::Operation;

/// A YMM register's 32 bytes.
using Register = std::array<u8, 32>;

Register read_register(Cpu const& cpu, u8 reg) {
  Register value;
  std::memcpy(value.data(), cpu.state.extended.xmm[reg].bytes, 16);
  std::memcpy(&value[16], cpu.state.extended.ymm_high[reg].bytes, 16);
  return value;
}
void write_register(Cpu& cpu, u8 reg, Register const& value) {
  std::memcpy(cpu.state.extended.xmm[reg].bytes, value.data(), 16);
  std::memcpy(cpu.state.extended.ymm_high[reg].bytes, &value[16], 16);
}
bool top_bit(Register const& mask, std::size_t element, std::size_t size) {
  return (mask[(element + 1) * size - 1] & 0x80) != 0;
}

u64 truncate(Instruction const& insn, u64 offset) {
  if (insn.address_size == 8) return offset;
  return insn.address_size == 4 ? static_cast<u32>(offset) : static_cast<u16>(offset);
}

// ---- VMASKMOVPS, VMASKMOVPD, VPMASKMOVD, VPMASKMOVQ ----

template <typename T>
void masked_load(Cpu& cpu, Instruction const& insn, void const*) {
  require_avx(cpu);
  auto const mask = read_register(cpu, insn.operands[1].reg);
  auto const offset = cpu.effective_address(insn);
  auto result = Register{};
  for (std::size_t i = 0; i < insn.operands[0].size / sizeof(T); i++) {
    if (!top_bit(mask, i, sizeof(T))) continue;
    store_le(&result[i * sizeof(T)], cpu.read<T>(insn.memory.segment, truncate(insn, offset + i * sizeof(T))));
  }
  write_register(cpu, insn.operands[0].reg, result);
}

template <typename T>
void masked_store(Cpu& cpu, Instruction const& insn, void const*) {
  require_avx(cpu);
  auto const mask = read_register(cpu, insn.operands[1].reg);
  auto const value = read_register(cpu, insn.operands[2].reg);
  auto const offset = cpu.effective_address(insn);
  auto const count = insn.operands[2].size / sizeof(T);
  for (std::size_t i = 0; i < count; i++) {
    if (!top_bit(mask, i, sizeof(T))) continue;
    cpu.probe_write(insn.memory.segment, truncate(insn, offset + i * sizeof(T)), sizeof(T));
  }
  for (std::size_t i = 0; i < count; i++) {
    if (!top_bit(mask, i, sizeof(T))) continue;
    cpu.write<T>(insn.memory.segment, truncate(insn, offset + i * sizeof(T)),
                 load_le<T>(&value[i * sizeof(T)]));
  }
}

template <typename T>
Handler masked_move(Instruction const& insn) {
  return insn.operands[0].kind == x86::OperandKind::memory ? masked_store<T> : masked_load<T>;
}

// ---- MASKMOVQ, MASKMOVDQU: bytes to DS:rDI ----

void store_bytes(Cpu& cpu, Instruction const& insn, u8 const* value, u8 const* mask, std::size_t count) {
  auto const segment = insn.prefixes.has_segment ? insn.prefixes.segment : x86::SegmentRegister::ds;
  auto const at = [&](std::size_t i) { return truncate(insn, cpu.state.gpr[x86::rdi] + i); };
  for (std::size_t i = 0; i < count; i++) {
    if ((mask[i] & 0x80) != 0) cpu.probe_write(segment, at(i), 1);
  }
  for (std::size_t i = 0; i < count; i++) {
    if ((mask[i] & 0x80) != 0) cpu.write<u8>(segment, at(i), value[i]);
  }
}

/// The two registers of MASKMOV: data, then mask.
std::array<u8, 2> mask_operands(Instruction const& insn, x86::OperandKind kind) {
  auto registers = std::array<u8, 2>{};
  std::size_t found{};
  for (auto const& operand : insn.operands) {
    if (operand.kind == kind && found < registers.size()) registers[found++] = operand.reg;
  }
  return registers;
}

void maskmovdqu(Cpu& cpu, Instruction const& insn, void const*) {
  if (insn.prefixes.vex)
    require_avx(cpu);
  else
    require_sse(cpu);
  auto const [data, mask] = mask_operands(insn, x86::OperandKind::vector);
  auto const& state = cpu.state.extended;
  store_bytes(cpu, insn, state.xmm[data].bytes, state.xmm[mask].bytes, 16);
}

void maskmovq(Cpu& cpu, Instruction const& insn, void const*) {
  require_mmx(cpu);
  auto& state = cpu.state.extended;
  auto const physical = [&](unsigned reg) -> u8 const* {
    return state.st[(reg - (state.fsw >> 11 & 7u)) & 7].bytes;
  };
  auto const [data, mask] = mask_operands(insn, x86::OperandKind::mmx);
  store_bytes(cpu, insn, physical(data), physical(mask), 8);
  set_top(state, 0);
  state.ftw = 0xff;
}

// ---- gathers ----

struct Gather {
  u8 destination, index, mask;
  std::size_t element, index_size, count;
};

Gather gather_of(Instruction const& insn) {
  auto gather = Gather{.destination = insn.operands[0].reg,
                       .index = insn.memory.vector_index,
                       .mask = insn.prefixes.vex_vvvv,
                       .element = insn.prefixes.vex_w ? std::size_t{8} : std::size_t{4},
                       .index_size = (insn.opcode & 1) != 0 ? std::size_t{8} : std::size_t{4},
                       .count = 0};
  auto const length = insn.prefixes.vex_length != 0 ? std::size_t{32} : std::size_t{16};
  gather.count = length / std::max(gather.element, gather.index_size);
  return gather;
}

/// Elements are fetched from the lowest on; those before a fault are done, and the mask says so (SDM vol. 2,
/// VGATHERDPS).
void gather_elements(Cpu& cpu, Instruction const& insn, void const*) {
  require_avx(cpu);
  auto const gather = gather_of(insn);
  auto const indices = read_register(cpu, gather.index);
  auto result = read_register(cpu, gather.destination);
  auto mask = read_register(cpu, gather.mask);
  auto const whole = gather.count * gather.element;
  for (std::size_t i = 0; i < gather.count; i++) {
    std::memset(&mask[i * gather.element], top_bit(mask, i, gather.element) ? 0xff : 0, gather.element);
  }
  std::memset(&mask[whole], 0, mask.size() - whole);

  auto base = static_cast<u64>(insn.memory.displacement);
  if (insn.memory.base != x86::no_register) base += cpu.state.gpr[insn.memory.base];
  try {
    for (std::size_t i = 0; i < gather.count; i++) {
      if (!top_bit(mask, i, gather.element)) continue;
      auto const* const from = &indices[i * gather.index_size];
      auto const index = gather.index_size == 8 ? load_le<i64>(from) : i64{load_le<i32>(from)};
      auto const offset = truncate(insn, base + static_cast<u64>(index) * insn.memory.scale);
      auto* const to = &result[i * gather.element];
      if (gather.element == 8)
        store_le(to, cpu.read<u64>(insn.memory.segment, offset));
      else
        store_le(to, cpu.read<u32>(insn.memory.segment, offset));
      std::memset(&mask[i * gather.element], 0, gather.element);
    }
  } catch (Fault const&) {
    write_register(cpu, gather.destination, result);
    write_register(cpu, gather.mask, mask);
    throw;
  }
  std::memset(&result[whole], 0, result.size() - whole);
  write_register(cpu, gather.destination, result);
  write_register(cpu, gather.mask, mask);
}

Lowered lower_gather(Instruction const& insn) {
  auto const gather = gather_of(insn);
  auto const distinct =
      gather.destination != gather.index && gather.destination != gather.mask && gather.index != gather.mask;
  if (!distinct) return {.handler = [](Cpu&, Instruction const&, void const*) { raise_ud(); }};
  return {.handler = gather_elements};
}

}  // namespace

Lowered lower_masked(Instruction const& insn) {
  switch (insn.operation) {
    case Operation::vmaskmovps:
    case Operation::vpmaskmovd: return {.handler = masked_move<u32>(insn)};
    case Operation::vmaskmovpd:
    case Operation::vpmaskmovq: return {.handler = masked_move<u64>(insn)};
    case Operation::maskmovq: return {.handler = maskmovq};
    case Operation::maskmovdqu: return {.handler = maskmovdqu};
    case Operation::vgatherdps:
    case Operation::vgatherdpd:
    case Operation::vgatherqps:
    case Operation::vgatherqpd:
    case Operation::vpgatherdd:
    case Operation::vpgatherdq:
    case Operation::vpgatherqd:
    case Operation::vpgatherqq: return lower_gather(insn);
    default: return {};
  }
}

}  // namespace vireo::engine::soft::vector
