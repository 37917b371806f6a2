#include "x86/table.h"

#include "x86/table_index.h"
#include "x86/table_rows.h"

namespace vireo::x86 {
namespace {

constexpr bool from_modrm(Source source) {
  switch (source) {
    using enum Source;
    case rm_gpr:
    case rm_gpr_only:
    case reg_gpr:
    case rm_memory:
    case vsib:
    case rm_vector:
    case rm_vector_only:
    case reg_vector:
    case rm_mmx:
    case rm_mmx_only:
    case reg_mmx:
    case reg_segment:
    case reg_control:
    case reg_debug:
    case sti: return true;
    default: return false;
  }
}

template <std::size_t n>
constexpr std::array<Row, n> finish(std::array<Row, n> rows) {
  for (auto& row : rows) {
    row.has_modrm = row.mod != Mod::any || row.reg != any_value;
    for (auto const& operand : row.operands) row.has_modrm |= from_modrm(operand.source);
  }
  return rows;
}

constexpr auto make_rows() {
  using namespace rows;
  return finish(std::to_array<Row>({
#include "x86/rows_0f.inc"
#include "x86/rows_avx.inc"
#include "x86/rows_primary.inc"
#include "x86/rows_sse.inc"
#include "x86/rows_x87.inc"
  }));
}
constexpr auto all_rows = make_rows();

constexpr u64 refused_traits(Row const& row) {
  auto refused = u64{};
  for (auto const size : {CodeSize::bits16, CodeSize::bits32, CodeSize::bits64})
    if (!(row.modes & (1 << static_cast<unsigned>(size)))) refused |= trait::code_size(size);
  if (row.mod == Mod::memory) refused |= trait::register_form;
  if (row.mod == Mod::reg) refused |= trait::memory_form;
  for (auto field = 0u; field < 8; ++field) {
    if (row.reg != any_value && row.reg != field) refused |= trait::reg(field);
    if (row.rm != any_value && row.rm != field) refused |= trait::rm(field);
  }
  auto const any_but_f3f2 = row.mandatory == Mandatory::not_f3f2;
  for (auto const prefix : {Mandatory::none, Mandatory::p66, Mandatory::f3, Mandatory::f2}) {
    auto const accepted = any_but_f3f2 ? prefix == Mandatory::none || prefix == Mandatory::p66
                                       : row.mandatory == Mandatory::any || row.mandatory == prefix;
    if (!accepted) refused |= trait::mandatory(prefix);
  }
  if (row.w == WidthBit::w0) refused |= trait::wide64 | trait::wide_outside64;
  if (row.w == WidthBit::w1) refused |= trait::narrow;
  if (row.w == WidthBit::w0_or_not64) refused |= trait::wide64;
  if (row.l == VectorLength::l0) refused |= trait::vector_length(1);
  if (row.l == VectorLength::l1) refused |= trait::vector_length(0);
  for (auto const bytes : {2u, 4u, 8u})
    if (!(row.operand_sizes & (bytes >> 1))) refused |= trait::operand_size(bytes);
  if (row.operation == Operation::nop && row.map == 0) refused |= trait::rex_b;  // 90 is XCHG with R8 then
  return refused;
}

constexpr std::size_t candidate_count() {
  auto count = 0uz;
  for (auto const& row : all_rows) count += row.last_opcode - row.opcode + 1uz;
  return count;
}

/// Rows grouped by opcode, in table order within a group.
struct Index {
  std::array<OpcodeRows, opcode_keys> opcodes{};
  std::array<Candidate, candidate_count()> candidates{};
};

constexpr ModrmUse modrm_use(Row const& row) {
  if (!row.has_modrm) return ModrmUse::none;
  return row.mod == Mod::ignored ? ModrmUse::registers : ModrmUse::registers_or_memory;
}

constexpr Index make_index() {
  auto index = Index{};
  for (auto const& row : all_rows) {
    for (auto code = unsigned{row.opcode}; code <= row.last_opcode; ++code) {
      auto& opcode = index.opcodes[opcode_key(row.encoding, row.map, static_cast<u8>(code))];
      if (opcode.count++ == 0) opcode.modrm = modrm_use(row);
    }
  }
  auto first = u16{};
  for (auto& opcode : index.opcodes) {
    opcode.first = first;
    first = static_cast<u16>(first + opcode.count);
  }
  auto next = index.opcodes;
  for (auto number = 0uz; number < all_rows.size(); ++number) {
    auto const& row = all_rows[number];
    for (auto code = unsigned{row.opcode}; code <= row.last_opcode; ++code) {
      auto& place = next[opcode_key(row.encoding, row.map, static_cast<u8>(code))].first;
      index.candidates[place++] = {.refused = refused_traits(row), .row = static_cast<u16>(number)};
    }
  }
  return index;
}
constexpr auto index = make_index();

}  // namespace

std::span<Row const> table() { return all_rows; }

Row const& row_of(Instruction const& insn) { return all_rows[insn.row < all_rows.size() ? insn.row : 0]; }

constinit std::array<OpcodeRows, opcode_keys> const opcode_index{index.opcodes};
constinit Candidate const* const candidate_list{index.candidates.data()};
constinit Row const* const row_list{all_rows.data()};

u32 flags_read(Instruction const& insn) {
  using enum Operation;
  auto const conditional = insn.operation == jcc || insn.operation == setcc || insn.operation == cmovcc;
  if (!conditional) return row_of(insn).flags.read;
  switch (insn.opcode >> 1 & 7) {
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

u32 required_alignment(Instruction const& insn) {
  auto const& row = row_of(insn);
  if (row.alignment != natural_alignment) return row.alignment == 0 ? 1 : row.alignment;
  for (auto const& operand : insn.operands)
    if (operand.kind == OperandKind::memory) return operand.size == 0 ? 1 : operand.size;
  return 1;
}

}  // namespace vireo::x86
