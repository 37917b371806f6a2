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

constexpr std::size_t key(Encoding encoding, u8 map, u8 opcode) {
  return (static_cast<std::size_t>(encoding) * 4 + map) * 256 + opcode;
}

constexpr std::size_t candidate_count() {
  auto count = 0uz;
  for (auto const& row : all_rows) count += row.last_opcode - row.opcode + 1uz;
  return count;
}

/// Row numbers grouped by opcode, in table order within a group.
struct Index {
  std::array<u16, 8 * 256 + 1> start{};
  std::array<u16, candidate_count()> rows{};
};

constexpr Index make_index() {
  auto index = Index{};
  for (auto const& row : all_rows) {
    for (auto code = unsigned{row.opcode}; code <= row.last_opcode; ++code)
      ++index.start[key(row.encoding, row.map, static_cast<u8>(code)) + 1];
  }
  for (auto i = 1uz; i < index.start.size(); ++i)
    index.start[i] = static_cast<u16>(index.start[i] + index.start[i - 1]);
  auto next = index.start;
  for (auto number = 0uz; number < all_rows.size(); ++number) {
    auto const& row = all_rows[number];
    for (auto code = unsigned{row.opcode}; code <= row.last_opcode; ++code)
      index.rows[next[key(row.encoding, row.map, static_cast<u8>(code))]++] = static_cast<u16>(number);
  }
  return index;
}
constexpr auto index = make_index();

}  // namespace

std::span<Row const> table() { return all_rows; }

Row const& row_of(Instruction const& insn) { return all_rows[insn.row < all_rows.size() ? insn.row : 0]; }

std::span<u16 const> candidates(Encoding encoding, u8 map, u8 opcode) {
  auto const at = key(encoding, map, opcode);
  return std::span{index.rows}.subspan(index.start[at], index.start[at + 1] - index.start[at]);
}

u32 required_alignment(Instruction const& insn) {
  auto const& row = row_of(insn);
  if (row.alignment != natural_alignment) return row.alignment == 0 ? 1 : row.alignment;
  for (auto const& operand : insn.operands)
    if (operand.kind == OperandKind::memory) return operand.size == 0 ? 1 : operand.size;
  return 1;
}

}  // namespace vireo::x86
