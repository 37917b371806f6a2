#include "engine/soft/translate/reencode.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "engine/soft/translate/test_zydis.h"
#include "x86/decoder.h"
#include "x86/sampler.h"

namespace vireo::engine::soft::translate {
namespace {

using x86::CodeSize;

constexpr std::array code_sizes{CodeSize::bits16, CodeSize::bits32, CodeSize::bits64};

/// Never re-encoded: they touch what the translator keeps for itself, and reencode() says so.
bool never_reencoded(x86::Instruction const& insn) {
  using enum x86::Operation;
  static auto const everywhere =
      std::set{// branches with a displacement or a far pointer, and other far transfers
               jcc, jcxz, loop, loope, loopne, call_far, jmp_far, ret_far, iret, int_, int1, int3, into,
               // segments, control and debug registers
               mov_from_segment, mov_to_segment, push_segment, pop_segment, les, lds, lss, lfs, lgs, sldt, str,
               lldt, ltr, verr, verw, lar, lsl, arpl, sgdt, sidt, lgdt, lidt, rdfsbase, rdgsbase, wrfsbase,
               wrgsbase, mov_from_control, mov_to_control, mov_from_debug, mov_to_debug,
               // memory operands of many addresses
               vpgatherdd, vpgatherdq, vpgatherqd, vpgatherqq, vgatherdps, vgatherdpd, vgatherqps, vgatherqpd,
               // outside 64-bit mode only
               daa, das, aaa, aas, aam, aad, pusha, popa, bound};
  static auto const outside_64_bit_code =
      std::set{// another size
               push, pop, pushf, popf, enter, leave, ret_near, call_near, jmp_near, sgdt, sidt, lgdt, lidt,
               invpcid, rdpid,
               // other registers or another layout
               fxsave, fxrstor, xsave, xrstor, xsaveopt, xsavec, xsaves, xrstors, vzeroall, vzeroupper};
  auto const relative_or_pointer = [](x86::Operand const& operand) {
    return operand.kind == x86::OperandKind::relative || operand.kind == x86::OperandKind::far_pointer;
  };
  return everywhere.contains(insn.operation) || std::ranges::any_of(insn.operands, relative_or_pointer) ||
         (insn.code_size != CodeSize::bits64 && outside_64_bit_code.contains(insn.operation));
}

/// Registers that an instruction names without a field are renamed where a longer form has a field for them.
bool accumulator_has_a_field(ZydisView const& view) {
  static auto const mnemonics =
      std::set<std::string>{"add", "or", "adc", "sbb", "and", "sub", "xor", "cmp", "test", "xchg", "mov"};
  return mnemonics.contains(view.mnemonic());
}

bool is_gpr(ZydisRegister reg) {
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return true;
    default: return false;
  }
}
bool is_high_byte(ZydisRegister reg) { return reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH; }
bool is_rex_byte(ZydisRegister reg) { return reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_DIL; }

ZydisRegister gpr(ZydisRegisterClass kind, unsigned number) {
  auto const id = kind == ZYDIS_REGCLASS_GPR8 && number >= 4 ? number + 4 : number;  // after AH..BH
  return ZydisRegisterEncode(kind, static_cast<ZyanU8>(id));
}
unsigned gpr_number(ZydisRegister reg) {
  auto const id = static_cast<unsigned>(ZydisRegisterGetId(reg));
  auto const is_byte = ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_GPR8;
  return is_high_byte(reg) ? id - 4 : is_byte && id >= 8 ? id - 4 : id;
}

struct Case {
  ZydisView guest, host;
  RegisterMap map;
  Mem mem;

  bool renamed(ZydisDecodedOperand const& operand) const {
    return is_gpr(operand.reg.value) &&
           (operand.encoding != ZYDIS_OPERAND_ENCODING_NONE ||
            (accumulator_has_a_field(guest) && gpr_number(operand.reg.value) == x86::rax));
  }
  ZydisRegister expected_register(ZydisDecodedOperand const& operand) const {
    auto const reg = operand.reg.value;
    if (!renamed(operand)) return reg;
    auto const host_number = static_cast<unsigned>(map.host[gpr_number(reg)]);
    if (is_high_byte(reg))
      return host_number < 4 ? static_cast<ZydisRegister>(ZYDIS_REGISTER_AH + host_number)
                             : ZYDIS_REGISTER_NONE;
    return gpr(ZydisRegisterGetClass(reg), host_number);
  }
  bool replaced(ZydisDecodedOperand const& operand) const {
    return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.encoding != ZYDIS_OPERAND_ENCODING_NONE;
  }

  /// AH..BH and something that needs REX.
  bool impossible() const {
    auto high = false, rex = false;
    for (auto i = 0u; i < guest.insn.operand_count_visible; ++i) {
      auto const& operand = guest.operands[i];
      if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && is_gpr(operand.reg.value)) {
        auto const reg = expected_register(operand);
        high |= is_high_byte(operand.reg.value);
        rex |= reg == ZYDIS_REGISTER_NONE || is_rex_byte(reg) || gpr_number(reg) >= 8;
      }
      rex |= replaced(operand) && ((mem.base != Reg::none && mem.base >= Reg::r8) ||
                                   (mem.index != Reg::none && mem.index >= Reg::r8));
    }
    return high && rex;
  }

  std::string expected_address() const {
    auto const name = [](Reg reg) {
      return reg == Reg::none ? "none"
                              : ZydisRegisterGetString(gpr(ZYDIS_REGCLASS_GPR64, static_cast<unsigned>(reg)));
    };
    return fmt::format("{}+{}*{}+{:#x}", name(mem.base), name(mem.index),
                       mem.index == Reg::none ? 0 : mem.scale, mem.disp);
  }
  static std::string address_text(ZydisDecodedOperand const& operand) {
    auto const name = [](ZydisRegister reg) {
      return reg == ZYDIS_REGISTER_NONE ? "none" : ZydisRegisterGetString(reg);
    };
    return fmt::format("{}+{}*{}+{:#x}", name(operand.mem.base), name(operand.mem.index), operand.mem.scale,
                       operand.mem.disp.has_displacement ? operand.mem.disp.value : 0);
  }

  std::string operand_difference(ZydisDecodedOperand const& there, ZydisDecodedOperand const& here) const {
    if (there.type != here.type) return "type";
    if (guest.insn.mnemonic == ZYDIS_MNEMONIC_LEA &&
        there.type ==
            ZYDIS_OPERAND_TYPE_MEMORY)  // LEA: an address, of the size of addresses, without a segment
      return address_text(here) == expected_address() ? "" : fmt::format("LEA of {}", address_text(here));
    if (there.size != here.size) return fmt::format("size {}, not {}", here.size, there.size);
    auto const mask = there.size >= 64 ? ~u64{0} : (u64{1} << there.size) - 1;
    switch (there.type) {
      case ZYDIS_OPERAND_TYPE_REGISTER: {
        auto const reg = expected_register(there);
        if (here.reg.value == reg) return "";
        return fmt::format("{}, not {}", ZydisRegisterGetString(here.reg.value), ZydisRegisterGetString(reg));
      }
      case ZYDIS_OPERAND_TYPE_MEMORY:
        if (!replaced(there)) return "";
        if ((here.mem.segment == ZYDIS_REGISTER_GS) != mem.gs) return "segment";
        if (address_text(here) == expected_address()) return "";
        return fmt::format("{}, not {}", address_text(here), expected_address());
      case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        if ((here.imm.value.u & mask) == (there.imm.value.u & mask)) return "";
        return fmt::format("{:#x}, not {:#x}", here.imm.value.u, there.imm.value.u);
      default: return "an operand of another kind";
    }
  }

  std::string difference(u32 size) const {
    constexpr auto prefixes = ZydisInstructionAttributes{ZYDIS_ATTRIB_HAS_LOCK | ZYDIS_ATTRIB_HAS_REP |
                                                         ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE};
    if (host.insn.length != size) return fmt::format("{} bytes, {} written", host.insn.length, size);
    if (host.mnemonic() != guest.mnemonic()) return "becomes " + host.mnemonic();
    if ((host.insn.attributes & prefixes) != (guest.insn.attributes & prefixes)) return "LOCK or REP";
    if (host.insn.operand_count_visible != guest.insn.operand_count_visible) return "operand count";
    if (host.insn.avx.vector_length != guest.insn.avx.vector_length) return "vector length";
    auto const reserved_nop = guest.insn.mnemonic == ZYDIS_MNEMONIC_NOP;  // touches no operand
    for (auto i = 0u; i < guest.insn.operand_count_visible && !reserved_nop; ++i)
      if (auto const text = operand_difference(guest.operands[i], host.operands[i]); !text.empty())
        return fmt::format("operand {}: {}", i, text);
    return "";
  }
};

std::string hex(std::span<u8 const> bytes) {
  auto text = std::string{};
  for (auto const byte : bytes) text += fmt::format("{:02x} ", byte);
  return text;
}

/// What is wrong with this instruction's host code; empty when nothing is.
std::string problem(std::span<u8 const> bytes, CodeSize code_size, RegisterMap const& map, Mem const& mem) {
  auto insn = x86::Instruction{};
  if (x86::decode(bytes, code_size, true, insn) != x86::DecodeStatus::ok) return "";
  auto code = std::array<u8, 64>{};
  auto out = Emitter{code.data(), code.data(), code.size()};
  auto const done = reencode(out, insn, map, mem);
  auto const written = std::span{code}.first(out.size());
  auto const test = Case{zydis_view(bytes, code_size), zydis_view(written, CodeSize::bits64), map, mem};
  auto const name = x86::disassemble(insn);
  if (!done && !written.empty()) return name + ": refused and written";
  if (never_reencoded(insn)) return done ? name + ": should be refused" : "";
  if (!test.guest.valid) return "";  // the decoder's test has the reasons
  if (done == test.impossible()) return name + (done ? ": AH..BH with REX" : ": refused");
  if (!done) return "";
  auto const difference = test.difference(out.size());
  return difference.empty() ? "" : fmt::format("{}: {} -> {}", name, difference, hex(written));
}

Mem draw_mem(x86::Sampler& sampler) {
  static constexpr std::array<i32, 8> displacements{0, 0, 1, -1, 127, -128, 0x1234567, -0x7654321};
  auto const reg = [&] { return sampler.one_in(4) ? Reg::none : static_cast<Reg>(sampler.below(16)); };
  auto mem = Mem{.base = reg(),
                 .index = reg(),
                 .scale = static_cast<u8>(1 << sampler.below(4)),
                 .disp = displacements[sampler.below(displacements.size())],
                 .gs = sampler.one_in(2)};
  if (mem.index == Reg::rsp) mem.index = Reg::none;
  return mem;
}

RegisterMap draw_map(x86::Sampler& sampler) {
  auto map = RegisterMap{};
  for (auto i = 15u; i > 0; --i) std::swap(map.host[i], map.host[sampler.below(i + 1)]);
  return map;
}

/// One example for each operation and mode.
std::string problems_of_all_rows(u64 seed, RegisterMap (*map)(x86::Sampler&)) {
  auto sampler = x86::Sampler{seed};
  auto found = std::map<std::string, std::string>{};
  for (auto const code_size : code_sizes) {
    for (auto const& row : x86::table()) {
      for (auto i = 0; i < 60; ++i) {
        auto const bytes = sampler.sample(row, code_size);
        auto const text = problem(bytes, code_size, map(sampler), draw_mem(sampler));
        if (!text.empty())
          found.try_emplace(fmt::format("{} in mode {}", name(row.operation), static_cast<int>(code_size)),
                            hex(bytes) + text);
      }
    }
  }
  auto report = std::string{};
  for (auto const& [where, what] : found) report += where + ": " + what + "\n";
  return report;
}

TEST(Reencode, KeepsWhatEveryRowMeansUnderTheIdentity) {
  EXPECT_EQ(problems_of_all_rows(11, [](x86::Sampler&) { return RegisterMap{}; }), "");
}

TEST(Reencode, KeepsWhatEveryRowMeansUnderPermutations) {
  EXPECT_EQ(problems_of_all_rows(12, [](x86::Sampler& sampler) { return draw_map(sampler); }), "");
}

}  // namespace
}  // namespace vireo::engine::soft::translate
