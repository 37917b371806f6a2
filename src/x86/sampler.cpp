#include "x86/sampler.h"

#include <algorithm>

namespace vireo::x86 {
namespace {

constexpr std::array<u8, 11> prefix_bytes{0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};

bool wants_wide(Row const& row) { return row.w == WidthBit::w1 || row.operand_sizes == 4; }
bool refuses_wide(Row const& row) {
  return row.w == WidthBit::w0 || row.w == WidthBit::w0_or_not64 || row.operand_sizes == 1 ||
         row.operand_sizes == 2;
}
bool uses_vvvv(Row const& row) {
  return std::ranges::any_of(row.operands, [](OperandSpec const& spec) {
    return spec.source == Source::vvvv_gpr || spec.source == Source::vvvv_vector;
  });
}
bool uses_vsib(Row const& row) {
  return std::ranges::any_of(row.operands, [](OperandSpec const& spec) { return spec.source == Source::vsib; });
}

}  // namespace

u8 Sampler::modrm(Row const& row) {
  auto byte = static_cast<u8>(number());
  if (row.reg != any_value) byte = static_cast<u8>((byte & ~0x38) | row.reg << 3);
  if (row.mod == Mod::reg || (row.mod == Mod::any && one_in(3))) byte |= 0xc0;
  if (row.mod == Mod::memory && byte >= 0xc0) byte = static_cast<u8>(byte & ~(0x40 << below(2)));
  if (row.rm != any_value) byte = static_cast<u8>((byte & ~7) | row.rm);
  if (uses_vsib(row)) byte = static_cast<u8>((byte & ~7) | 4);
  return byte;
}

void Sampler::add_vex(Row const& row, CodeSize code_size, Buffer& out) {
  auto const pp = row.mandatory == Mandatory::p66  ? 1u
                  : row.mandatory == Mandatory::f3 ? 2u
                  : row.mandatory == Mandatory::f2 ? 3u
                                                   : 0u;
  auto const wide = wants_wide(row) || (!refuses_wide(row) && one_in(2));
  auto const length = row.l == VectorLength::l1 || (row.l == VectorLength::any && one_in(2)) ? 4u : 0u;
  auto const vvvv = uses_vvvv(row) ? static_cast<u32>(below(16)) << 3 : 0x78u;
  auto const inverted = code_size == CodeSize::bits64 ? static_cast<u32>(number()) & 0xe0 : 0xe0u;
  if (uses_vsib(row) && code_size == CodeSize::bits16) out.add(0x67);  // there is no SIB otherwise
  if (row.map == 1 && !wide && one_in(2)) {
    out.add(0xc5);
    out.add((inverted & 0x80) | (code_size == CodeSize::bits64 ? vvvv : vvvv | 0x40) | length | pp);
  } else {
    out.add(0xc4);
    out.add(inverted | row.map);
    out.add((wide ? 0x80u : 0u) | vvvv | length | pp);
  }
}

void Sampler::add_legacy(Row const& row, CodeSize code_size, Buffer& out) {
  auto const code64 = code_size == CodeSize::bits64;
  auto const small = row.operand_sizes == 1;
  if (row.mandatory == Mandatory::p66 ||
      (row.operand_sizes != 7 && small != (code_size == CodeSize::bits16) && row.operand_sizes != 4))
    out.add(0x66);
  else if ((row.mandatory == Mandatory::any || row.mandatory == Mandatory::not_f3f2) &&
           row.operand_sizes == 7 && one_in(5))
    out.add(0x66);
  if (row.mandatory == Mandatory::f3) out.add(0xf3);
  if (row.mandatory == Mandatory::f2) out.add(0xf2);
  if (code64 && (wants_wide(row) || one_in(2))) {
    auto rex = 0x40 | (number() & 0xf);
    if (wants_wide(row)) rex |= 8;
    if (refuses_wide(row)) rex &= ~8ull;
    out.add(rex);
  }
  if (row.map != 0) out.add(0x0f);
  if (row.map == 2) out.add(0x38);
  if (row.map == 3) out.add(0x3a);
}

std::array<u8, 15> Sampler::sample(Row const& row, CodeSize code_size) {
  auto out = Buffer{};
  while (one_in(8)) out.add(prefix_bytes[below(prefix_bytes.size())]);
  if (row.lockable() && one_in(8)) out.add(0xf0);
  if (row.has(Attribute::repeatable) && one_in(2)) out.add(0xf2 + below(2));
  if (row.encoding == Encoding::vex) {
    add_vex(row, code_size, out);
  } else {
    add_legacy(row, code_size, out);
  }
  out.add(row.opcode + below(row.last_opcode - row.opcode + 1u));
  if (row.has_modrm) out.add(modrm(row));
  while (out.size < out.bytes.size()) out.add(number());
  return out.bytes;
}

std::array<u8, 15> Sampler::noise(CodeSize code_size) {
  auto out = Buffer{};
  while (one_in(3)) out.add(prefix_bytes[below(prefix_bytes.size())]);
  switch (below(code_size == CodeSize::bits64 ? 6 : 5)) {
    case 0: out.add(0x0f); break;
    case 1: out.add(0x0f), out.add(0x38 + 2 * below(2)); break;
    case 2: out.add(0xc5), out.add(number() | 0x78 * below(2)); break;
    case 3:
      out.add(0xc4), out.add((number() & 0xe0) | (1 + below(3))), out.add(number() | 0x78 * below(2));
      break;
    case 4: break;
    default: out.add(0x40 | (number() & 0xf));
  }
  while (out.size < out.bytes.size()) out.add(number());
  return out.bytes;
}

}  // namespace vireo::x86
