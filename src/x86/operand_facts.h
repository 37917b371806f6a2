#pragma once

#include <array>

#include "x86/table.h"

/// Tables that turn an operand of a row into an operand of an instruction. Only for the decoder.
namespace vireo::x86::operand_facts {

// ---- sizes ----

inline constexpr std::size_t size_count{static_cast<std::size_t>(Size::fx) + 1};
using Sizes = std::array<u8, size_count>;

/// What a Size depends on, as an index.
constexpr std::size_t size_state(unsigned operand_size, unsigned vex_length, bool wide, bool code64) {
  return ((operand_size >> 2) * 2uz + vex_length) * 4 + (code64 ? 2 : 0) + (wide ? 1 : 0);
}

constexpr unsigned bytes_of(Size size, unsigned operand, unsigned vex_length, bool wide, bool code64) {
  auto const vector = vex_length == 1 ? 32u : 16u;
  switch (size) {
    using enum Size;
    case none:
    case fx: return 0;
    case b: return 1;
    case w: return 2;
    case d: return 4;
    case q: return 8;
    case t: return 10;
    case dq: return 16;
    case qq: return 32;
    case v:
    case stack: return operand;
    case z: return operand == 2 ? 2 : 4;
    case y: return wide && code64 ? 8 : 4;
    case x: return vector;
    case half_x: return vector / 2;
    case quarter_x: return vector / 4;
    case eighth_x: return vector / 8;
    case p: return 2 + operand;
    case a: return 2 * operand;
    case s: return code64 ? 10 : 6;
    case x87_environment: return operand == 2 ? 14 : 28;
    case x87_state: return operand == 2 ? 94 : 108;
  }
  return 0;
}

inline constexpr auto size_table = [] {
  auto table = std::array<Sizes, 24>{};
  for (auto const operand : {2u, 4u, 8u})
    for (auto const length : {0u, 1u})
      for (auto const wide : {false, true})
        for (auto const code64 : {false, true})
          for (auto size = 0uz; size < size_count; ++size)
            table[size_state(operand, length, wide, code64)][size] =
                static_cast<u8>(bytes_of(static_cast<Size>(size), operand, length, wide, code64));
  return table;
}();

// ---- sources ----

/// Where a register number comes from. *3: without REX's bit.
enum class Number : u8 { fixed, reg, rm, vvvv, opcode, reg3, rm3 };

enum Needs : u8 {
  needs_bytes = 1,  // more than a number or ModRM's memory operand
  needs_vvvv = 2,
  needs_vsib = 4,
  needs_check = 8,  // some registers do not exist
};

struct SourceFacts {
  OperandKind register_kind{}, memory_kind{};  // with a register and with memory in ModRM.rm
  Number number{};
  u8 needs{};
};

constexpr SourceFacts facts_of(Source source) {
  using K = OperandKind;
  switch (source) {
    using enum Source;
    case none: return {};
    case rm_gpr: return {K::gpr, K::memory, Number::rm};
    case rm_gpr_only: return {K::gpr, K::gpr, Number::rm};
    case reg_gpr: return {K::gpr, K::gpr, Number::reg};
    case vvvv_gpr: return {K::gpr, K::gpr, Number::vvvv, needs_vvvv};
    case opcode_gpr: return {K::gpr, K::gpr, Number::opcode};
    case fixed_gpr: return {K::gpr, K::gpr, Number::fixed};
    case rm_memory: return {K::memory, K::memory};
    case vsib: return {K::memory, K::memory, {}, needs_vsib | needs_check};
    case moffs:
    case string_source:
    case string_destination:
    case implicit_memory: return {K::memory, K::memory, {}, needs_bytes};
    case rm_vector: return {K::vector, K::memory, Number::rm};
    case rm_vector_only: return {K::vector, K::vector, Number::rm};
    case reg_vector: return {K::vector, K::vector, Number::reg};
    case vvvv_vector: return {K::vector, K::vector, Number::vvvv, needs_vvvv};
    case is4_vector: return {K::vector, K::vector, {}, needs_bytes};
    case fixed_vector: return {K::vector, K::vector, Number::fixed};
    case rm_mmx: return {K::mmx, K::memory, Number::rm3};
    case rm_mmx_only: return {K::mmx, K::mmx, Number::rm3};
    case reg_mmx: return {K::mmx, K::mmx, Number::reg3};
    case reg_segment: return {K::segment, K::segment, Number::reg3, needs_check};
    case fixed_segment: return {K::segment, K::segment, Number::fixed};
    case reg_control: return {K::control, K::control, Number::reg, needs_check};
    case reg_debug: return {K::debug, K::debug, Number::reg, needs_check};
    case st0: return {K::x87, K::x87, Number::fixed};
    case sti: return {K::x87, K::x87, Number::rm3};
    case one:
    case immediate:
    case immediate_signed: return {K::immediate, K::immediate, {}, needs_bytes};
    case immediate2: return {K::immediate2, K::immediate2, {}, needs_bytes};
    case relative: return {K::relative, K::relative, {}, needs_bytes};
    case far_pointer: return {K::far_pointer, K::far_pointer, {}, needs_bytes};
  }
  return {};
}

inline constexpr auto source_facts = [] {
  auto table = std::array<SourceFacts, static_cast<std::size_t>(Source::far_pointer) + 1>{};
  for (auto i = 0uz; i < table.size(); ++i) table[i] = facts_of(static_cast<Source>(i));
  return table;
}();

}  // namespace vireo::x86::operand_facts
