#include "engine/soft/translate/reencode.h"

#include <algorithm>
#include <vector>

#include "x86/table.h"

namespace vireo::engine::soft::translate {
namespace {

using x86::Source;

enum class Form : u8 {
  refused,
  as_it_is,         // opcode, ModRM if it has one
  opcode_register,  // +r
  inc_dec,          // 40..4F
  exchange,         // 90+r
  moffs,            // A0..A3
  accumulator,      // ALU and TEST with AL or rAX and an immediate
};

enum class Field : u8 { kept, gpr, low_byte, vector };  // what a ModRM field or vvvv names

/// What of a row matters here.
struct Plan {
  Form form{};
  Field reg{}, rm{}, vvvv{};
  u8 prefix{};  // mandatory F2 or F3
  u8 vex_pp{};
  bool mandatory66{};  // 66 whatever the operand size
  bool sized{};        // 66 means operand size
  bool from64_only{};
  bool repeatable{};
  bool is4{};
  bool immediate2{};
};

bool depends_on_operand_size(x86::Size size) {
  switch (size) {
    using enum x86::Size;
    case v:
    case z:
    case p:
    case a:
    case stack:
    case x87_environment:
    case x87_state: return true;
    default: return false;
  }
}

Field gpr_field(x86::OperandSpec const& spec) {
  return spec.register_size == x86::Size::b ? Field::low_byte : Field::gpr;
}

/// What covers registers 8 to 15, or has another layout, in 64-bit code.
bool differs_in_64_bit_mode(x86::Row const& row) {
  switch (row.operation) {
    using enum x86::Operation;
    case fxsave:
    case fxrstor:
    case xsave:
    case xrstor:
    case xsaveopt:
    case xsavec:
    case xsaves:
    case xrstors:
    case vzeroall:
    case vzeroupper: return true;
    default: return row.default64 || row.force64 || row.by_mode;
  }
}

void take_operand(Plan& plan, x86::OperandSpec const& spec) {
  plan.sized |= depends_on_operand_size(spec.register_size) || depends_on_operand_size(spec.memory_size);
  switch (spec.source) {
    using enum Source;
    case rm_gpr:
    case rm_gpr_only: plan.rm = gpr_field(spec); break;
    case reg_gpr: plan.reg = gpr_field(spec); break;
    case vvvv_gpr: plan.vvvv = Field::gpr; break;
    case opcode_gpr:
      plan.rm = gpr_field(spec);
      plan.form = Form::opcode_register;
      break;
    case rm_vector:
    case rm_vector_only: plan.rm = Field::vector; break;
    case reg_vector: plan.reg = Field::vector; break;
    case vvvv_vector: plan.vvvv = Field::vector; break;
    case is4_vector: plan.is4 = true; break;
    case immediate2: plan.immediate2 = true; break;
    case moffs: plan.form = Form::moffs; break;
    case vsib:
    case reg_segment:
    case fixed_segment:
    case reg_control:
    case reg_debug:
    case relative:
    case far_pointer: plan.form = Form::refused; break;
    default: break;
  }
}

Plan make_plan(x86::Row const& row) {
  auto plan = Plan{.form = Form::as_it_is};
  plan.mandatory66 = row.mandatory == x86::Mandatory::p66 && row.encoding == x86::Encoding::legacy;
  plan.sized = row.operand_sizes != 7 || row.default64;
  plan.prefix = row.mandatory == x86::Mandatory::f3 ? 0xf3 : row.mandatory == x86::Mandatory::f2 ? 0xf2 : 0;
  plan.vex_pp = row.mandatory == x86::Mandatory::p66  ? 1
                : row.mandatory == x86::Mandatory::f3 ? 2
                : row.mandatory == x86::Mandatory::f2 ? 3
                                                      : 0;
  plan.from64_only = differs_in_64_bit_mode(row);
  plan.repeatable = row.has(x86::Attribute::repeatable);
  for (auto const& spec : row.operands)
    if (plan.form != Form::refused) take_operand(plan, spec);
  if (row.family == x86::Family::segmentation) plan.form = Form::refused;
  auto const primary = row.map == 0 && row.encoding == x86::Encoding::legacy;
  if (plan.form == Form::refused) return plan;
  if (primary && (row.opcode & 0xf0) == 0x40) {
    plan.form = Form::inc_dec;
  } else if (primary && row.operation == x86::Operation::xchg && row.opcode == 0x90) {
    plan.form = Form::exchange;
    plan.reg = plan.rm;
  } else if (primary && ((row.opcode < 0x40 && (row.opcode & 6) == 4) || (row.opcode & 0xfe) == 0xa8)) {
    plan.form = Form::accumulator;
    plan.rm = row.opcode & 1 ? Field::gpr : Field::low_byte;
  } else if (plan.form == Form::moffs) {
    plan.reg = row.opcode & 1 ? Field::gpr : Field::low_byte;
  } else if (!(row.modes & 4) && !(primary && row.opcode == 0x82)) {
    plan.form = Form::refused;
  }
  return plan;
}

std::vector<Plan> make_plans() {
  auto plans = std::vector<Plan>(x86::table().size());
  std::ranges::transform(x86::table(), plans.begin(), make_plan);
  return plans;
}

Plan const& plan_of(x86::Instruction const& insn) {
  static auto const plans = make_plans();
  return plans[insn.row];
}

/// The R, X and B bits as REX has them.
unsigned rex_bits(x86::Instruction const& insn) {
  if (!insn.prefixes.vex) return insn.prefixes.rex & 7;
  if (!insn.has_modrm || insn.code_size != x86::CodeSize::bits64) return 0;
  auto const* opcode = &insn.bytes[insn.modrm_offset - 1uz];
  if (opcode[-2] == 0xc5) return opcode[-1] & 0x80 ? 0 : 4;  // in the long form that is a map byte, never C5
  return (~unsigned{opcode[-2]} >> 5) & 7;
}

/// Two bytes where they can say it, else three (SDM vol. 2, 2.3.5).
u8* put_vex(u8* to, x86::Instruction const& insn, unsigned rex, unsigned vvvv, unsigned pp) {
  auto const last = (~vvvv & 0xf) << 3 | unsigned{insn.prefixes.vex_length} << 2 | pp;
  if (insn.map == 1 && !insn.prefixes.vex_w && (rex & 3) == 0) {
    to[0] = 0xc5;
    to[1] = static_cast<u8>((rex & 4 ? 0 : 0x80) | last);
    return to + 2;
  }
  to[0] = 0xc4;
  to[1] = static_cast<u8>((~rex & 7) << 5 | insn.map);
  to[2] = static_cast<u8>((insn.prefixes.vex_w ? 0x80 : 0) | last);
  return to + 3;
}

u8* put_escape(u8* to, unsigned map) {
  to[0] = 0x0f;
  to[1] = map == 2 ? 0x38 : 0x3a;
  return to + (map == 0 ? 0 : map == 1 ? 1 : 2);
}

/// Names registers anew, and says what that asks of REX.
struct Renaming {
  RegisterMap const& map;
  bool legacy_bytes{};  // byte registers 4 to 7 are AH CH DH BH
  bool needs_rex{}, refuses_rex{}, possible{true};

  unsigned rename(Field field, unsigned guest) {
    switch (field) {
      case Field::kept: return guest & 7;
      case Field::vector: return guest;
      case Field::gpr: return static_cast<unsigned>(map.host[guest]);
      case Field::low_byte: break;
    }
    if (legacy_bytes && guest >= 4 && guest < 8) {
      auto const whole = static_cast<unsigned>(map.host[guest - 4]);
      refuses_rex = true;
      possible &= whole < 4;
      return whole + 4;
    }
    auto const host = static_cast<unsigned>(map.host[guest]);
    needs_rex |= host >= 4 && host < 8;
    return host;
  }
};

}  // namespace

bool reencode(Emitter& out, x86::Instruction const& insn, RegisterMap const& map, Mem const& mem) {
  auto const& plan = plan_of(insn);
  auto const& prefixes = insn.prefixes;
  auto const code64 = insn.code_size == x86::CodeSize::bits64;
  if (plan.form == Form::refused || (plan.from64_only && !code64)) return false;

  auto const guest_rex = rex_bits(insn);
  auto renaming = Renaming{.map = map, .legacy_bytes = prefixes.rex == 0 && !prefixes.vex};
  auto guest_reg = ((insn.modrm >> 3) & 7u) | (guest_rex & 4) << 1;
  auto guest_rm = (insn.modrm & 7u) | (guest_rex & 1) << 3;
  auto opcode = unsigned{insn.opcode};
  auto modrm = insn.has_modrm;
  auto in_memory = modrm && insn.modrm < 0xc0;
  auto immediate_length = static_cast<unsigned>(insn.length - insn.immediate_offset);
  switch (plan.form) {
    case Form::refused:
    case Form::as_it_is:
      if (opcode == 0x82 && insn.map == 0) opcode = 0x80;
      break;
    case Form::opcode_register: guest_rm = (opcode & 7) | (guest_rex & 1) << 3; break;
    case Form::inc_dec:
      guest_rm = opcode & 7;
      guest_reg = opcode >> 3 & 1;
      opcode = 0xff;
      modrm = true;
      break;
    case Form::exchange:
      guest_rm = (opcode & 7) | (guest_rex & 1) << 3;
      guest_reg = x86::rax;
      opcode = 0x87;
      modrm = true;
      break;
    case Form::moffs: {
      static constexpr std::array<u8, 4> general{0x8a, 0x8b, 0x88, 0x89};
      opcode = general[opcode & 3];
      guest_reg = x86::rax;
      modrm = in_memory = true;
      immediate_length = 0;
      break;
    }
    case Form::accumulator:
      if (map.host[x86::rax] == Reg::rax) break;
      guest_rm = x86::rax;
      guest_reg = opcode < 0x40 ? opcode >> 3 : 0;
      opcode = (opcode < 0x40 ? 0x80 : 0xf6) | (opcode & 1);
      modrm = true;
      break;
  }

  auto const reg = modrm ? renaming.rename(plan.reg, guest_reg) : 0;
  auto const plus = plan.form == Form::opcode_register;
  auto const rm = in_memory || !(modrm || plus) ? 0 : renaming.rename(plan.rm, guest_rm);
  auto const base = mem.base == Reg::none ? 0u : static_cast<unsigned>(mem.base) >> 3;
  auto const index = mem.index == Reg::none ? 0u : static_cast<unsigned>(mem.index) >> 3;
  auto const rex = (reg >> 3) << 2 | (in_memory ? index << 1 | base : rm >> 3);

  auto* to = out.reserve();
  *to = 0x65;
  to += in_memory && mem.gs;
  if (prefixes.vex) {
    auto const vvvv = renaming.rename(plan.vvvv, prefixes.vex_vvvv);
    to = put_vex(to, insn, rex, vvvv, plan.vex_pp);
  } else {
    *to = 0x66;
    to += plan.mandatory66 || (plan.sized && insn.operand_size == 2);
    *to = 0xf0;
    to += prefixes.lock;
    auto const repeat = !plan.repeatable ? plan.prefix : prefixes.rep ? 0xf3 : prefixes.repne ? 0xf2 : 0;
    *to = static_cast<u8>(repeat);
    to += repeat != 0;
    auto const whole_rex = (prefixes.rex & 8) | rex;
    auto const has_rex = whole_rex != 0 || renaming.needs_rex;
    renaming.possible &= !(has_rex && renaming.refuses_rex);
    *to = static_cast<u8>(0x40 | whole_rex);
    to += has_rex;
    to = put_escape(to, insn.map);
  }
  if (!renaming.possible) return false;
  *to++ = static_cast<u8>(plus ? (opcode & 0xf8) | (rm & 7) : opcode);
  if (in_memory) {
    to = Emitter::put_memory(to, reg, mem);
  } else {
    *to = static_cast<u8>(0xc0 | (reg & 7) << 3 | (rm & 7));
    to += modrm;
  }
  Emitter::put64(to, insn.immediate);
  to += immediate_length;
  if (plan.immediate2) to[-1] = static_cast<u8>(insn.immediate2);
  if (plan.is4 && !code64) to[-1] &= 0x7f;
  out.commit(to);
  return true;
}

}  // namespace vireo::engine::soft::translate
