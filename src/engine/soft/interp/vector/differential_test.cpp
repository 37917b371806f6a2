#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/soft/interp/vector/native_test_kit.h"
#include "engine/soft/interp/vector/thunk.h"
#include "x86/sampler.h"

// Each encoding of the vector family on random registers: here and on the host's processor, bit for bit.
namespace vireo::engine::soft::vector {
namespace {

using x86::Instruction;
using x86::Operation;
using x86::Row;

class Randomiser {
 public:
  explicit Randomiser(x86::Sampler& sampler) : sampler_{sampler} {}

  u64 number() {
    constexpr u64 edges[]{0,
                          ~u64{},
                          1,
                          0x8000000000000000,
                          0x7fffffffffffffff,
                          0x80000000,
                          0x7fffffff,
                          0x3ff0000000000000,
                          0x7ff0000000000000,
                          0x7ff8000000000000,
                          0x7ff0000000000001,
                          0x0010000000000000,
                          0x000fffffffffffff,
                          0x3f8000003f800000,
                          0x7f8000007f800000,
                          0x7f8000017fc00000,
                          0x0000000100800000,
                          0x807fffff00000000,
                          0xc1e0000000000000,
                          0x41dfffffffc00000,
                          0x0102030405060708,
                          0x8080808080808080};
    if (sampler_.one_in(3)) return edges[sampler_.below(std::size(edges))];
    return sampler_.number();
  }

  void fill(std::span<std::byte> bytes) {
    for (std::size_t i = 0; i + 8 <= bytes.size(); i += 8) store_le(&bytes[i], number());
  }

  Registers registers(bool unmask) {
    auto out = Registers{};
    for (auto& gpr : out.gpr) gpr = number();
    out.rflags = x86::flag_fixed | (sampler_.number() & x86::arithmetic_flags);
    auto& state = out.extended;
    fill(std::as_writable_bytes(std::span{state.xmm}));
    fill(std::as_writable_bytes(std::span{state.ymm_high}));
    for (auto& st : state.st) {
      store_le(st.bytes, number());
      constexpr u16 exponents[]{0, 1, 0x3fff, 0x7fff, 0xffff, 0xbfff, 0x403e, 0x3c01, 0x7ffe};
      store_le(st.bytes + 8, sampler_.one_in(2) ? exponents[sampler_.below(std::size(exponents))]
                                                : static_cast<u16>(sampler_.number()));
      if (sampler_.one_in(2)) st.bytes[7] |= 0x80;
    }
    state.ftw = static_cast<u8>(sampler_.one_in(3) ? sampler_.number() : 0xff);
    state.fcw =
        static_cast<u16>(0x40 | (sampler_.number() & 0xf00) | (unmask ? sampler_.number() & 0x3f : 0x3f));
    state.fsw = static_cast<u16>(sampler_.number() & 0x7f00);
    if (sampler_.one_in(4)) state.fsw |= static_cast<u16>(sampler_.number() & state.fcw & 0x3f);
    state.fip = sampler_.number() >> 17;  // canonical
    state.fdp = sampler_.number() >> 17;
    state.fop = sampler_.number() & 0x7ff;
    state.mxcsr = 0x1f80;
    if (sampler_.one_in(2)) state.mxcsr = static_cast<u32>(sampler_.number() & 0xffff) | 0x1f80;
    if (unmask) state.mxcsr = static_cast<u32>(sampler_.number() & 0xffff);
    return out;
  }

 private:
  x86::Sampler& sampler_;
};

/// Moves the memory operand into the data area by changing a register; false when that cannot be done.
bool aim(Instruction const& insn, Registers& registers, x86::Sampler& sampler) {
  auto const& memory = insn.memory;
  auto has_memory = false;
  for (auto const& operand : insn.operands) has_memory |= operand.kind == x86::OperandKind::memory;
  if (!has_memory) return true;
  if (insn.address_size != 8 || memory.base == x86::no_register || memory.base == x86::rsp ||
      memory.rip_relative || memory.base == memory.index || memory.segment >= x86::SegmentRegister::fs)
    return false;
  auto const target = data_start + 0x2000 + (sampler.one_in(4) ? sampler.below(64) : 64 * sampler.below(16));
  auto rest = static_cast<u64>(memory.displacement);
  if (memory.index != x86::no_register) rest += registers.gpr[memory.index] * memory.scale;
  registers.gpr[memory.base] = target - rest;
  if (memory.vector_index != x86::no_register) {
    for (auto& one : {registers.extended.xmm[memory.vector_index].bytes,
                      registers.extended.ymm_high[memory.vector_index].bytes}) {
      for (std::size_t i = 0; i < 16; i += insn.opcode & 1 ? 8 : 4) {
        auto const index = static_cast<i64>(sampler.below(512)) - 256;
        std::memcpy(one + i, &index, insn.opcode & 1 ? 8 : 4);
      }
    }
  }
  return true;
}

std::string difference(Registers const& got, Registers const& wanted, u32 flags) {
  auto text = std::string{};
  for (std::size_t i = 0; i < 16; i++) {
    if (got.gpr[i] != wanted.gpr[i]) text += fmt::format("gpr{} {:x} not {:x}\n", i, got.gpr[i], wanted.gpr[i]);
  }
  if ((got.rflags & flags) != (wanted.rflags & flags))
    text += fmt::format("flags {:x} not {:x}\n", got.rflags, wanted.rflags);
  auto const bytes = [&](char const* name, auto const& a, auto const& b) {
    for (std::size_t i = 0; i < std::size(a); i++) {
      if (std::memcmp(a[i].bytes, b[i].bytes, 16) == 0) continue;
      text += fmt::format("{}{} {:016x}{:016x} not {:016x}{:016x}\n", name, i, load_le<u64>(a[i].bytes + 8),
                          load_le<u64>(a[i].bytes), load_le<u64>(b[i].bytes + 8), load_le<u64>(b[i].bytes));
    }
  };
  auto const &a = got.extended, &b = wanted.extended;
  bytes("st", a.st, b.st);
  bytes("xmm", a.xmm, b.xmm);
  bytes("high", a.ymm_high, b.ymm_high);
  if (a.mxcsr != b.mxcsr) text += fmt::format("mxcsr {:x} not {:x}\n", a.mxcsr, b.mxcsr);
  if (a.fcw != b.fcw || a.fsw != b.fsw || a.ftw != b.ftw)
    text += fmt::format("fcw {:x} fsw {:x} ftw {:x} not {:x} {:x} {:x}\n", a.fcw, a.fsw, a.ftw, b.fcw, b.fsw,
                        b.ftw);
  return text;
}

/// The addresses of instruction and data differ between the two runs; whether they moved must not.
std::string pointer_difference(Registers const& got, Registers const& wanted, Registers const& start, u64 rip) {
  auto const &a = got.extended, &b = wanted.extended, &c = start.extended;
  auto const right = b.fip == c.fip ? a.fip == b.fip : a.fip == b.fip || a.fip == rip;
  if (right && a.fop == b.fop) return {};
  return fmt::format("fip {:x} not {:x}, fop {:x} not {:x}\n", a.fip, b.fip, a.fop, b.fop);
}

constexpr u64 guest_rip{0x40'0000};

bool is_one_of(Operation operation, std::initializer_list<Operation> list) {
  return std::find(list.begin(), list.end(), operation) != list.end();
}
bool saves(Operation o) {
  return is_one_of(o, {Operation::fxsave, Operation::xsave, Operation::xsavec, Operation::xsaveopt});
}
bool restores(Operation o) { return is_one_of(o, {Operation::fxrstor, Operation::xrstor}); }
bool privileged(Operation o) { return is_one_of(o, {Operation::xsaves, Operation::xrstors}); }

/// A save area that can be restored more often than not, and the components asked for in EDX:EAX.
void prepare_area(std::byte* area, Registers& registers, x86::Sampler& sampler) {
  registers.gpr[x86::rax] = sampler.below(8);
  registers.gpr[x86::rdx] = 0;
  store_le(area + 8, sampler.number() >> 17);  // canonical
  store_le(area + 16, sampler.number() >> 17);
  store_le(area + 24, static_cast<u32>(sampler.number() & (sampler.one_in(20) ? ~u64{} : u64{0xffff})));
  std::memset(area + 512, 0, 64);
  auto const present = sampler.below(8);
  store_le(area + 512, present & sampler.number());
  if (sampler.one_in(2)) store_le(area + 520, present | u64{1} << 63);
  if (sampler.one_in(16)) area[512 + sampler.below(64)] = std::byte{1};
  if (sampler.one_in(16)) area[526] = std::byte{1};  // a component that no processor has
}

void compare(u64 seed, int cases_per_row, bool unmask) {
  auto native = NativeRunner{};
  auto guest = GuestRunner{};
  auto sampler = x86::Sampler{seed};
  auto randomiser = Randomiser{sampler};
  auto ran = 0, failures = 0;
  auto* const guest_data = guest.cpu.mmu.host(data_start, true);
  for (auto const& row : x86::table()) {
    if (row.family != x86::Family::vector || privileged(row.operation)) continue;
    auto row_failures = 0;
    for (auto i = 0; i < cases_per_row && row_failures < 2; i++) {
      auto const bytes = sampler.sample(row, x86::CodeSize::bits64);
      Instruction insn;
      if (x86::decode(bytes, x86::CodeSize::bits64, true, insn) != x86::DecodeStatus::ok) continue;
      if (&x86::row_of(insn) != &row || !host_supports(insn)) continue;
      auto start = randomiser.registers(unmask);
      if (insn.memory.segment >= x86::SegmentRegister::fs) continue;
      if (insn.operation == Operation::maskmovdqu || insn.operation == Operation::maskmovq)
        start.gpr[x86::rdi] = data_start + 0x1000;
      else if (!aim(insn, start, sampler))
        continue;
      for (auto const& operand : insn.operands) {
        if (operand.kind == x86::OperandKind::gpr && operand.reg == x86::rsp) start.gpr[x86::rsp] = ~u64{};
      }
      if (start.gpr[x86::rsp] == ~u64{}) continue;
      randomiser.fill(native.data());
      if (saves(insn.operation) || restores(insn.operation)) {
        auto const at = guest.address_of(insn, start);
        if (insn.memory.base == x86::rax || insn.memory.index == x86::rax || insn.memory.base == x86::rdx ||
            insn.memory.index == x86::rdx)
          continue;
        prepare_area(native.data().data() + (at - data_start), start, sampler);
      }
      if (insn.operation == Operation::ldmxcsr) {
        store_le(native.data().data() + (guest.address_of(insn, start) - data_start),
                 static_cast<u32>(sampler.number() & 0x3ffff));
      }
      std::memcpy(guest_data, native.data().data(), data_size);
      auto wanted = start, got = start;
      auto const code = std::span{bytes}.first(insn.length);
      auto const wanted_outcome = native.run(code, wanted);
      guest.cpu.state.rip = guest_rip;
      auto const got_outcome = guest.run(code, got);
      ran++;
      if (wanted_outcome != Outcome::done) {
        // The state must be as before but for MXCSR's flags.
        auto const mxcsr = wanted.extended.mxcsr;
        wanted = start;
        if (wanted_outcome == Outcome::floating_point) wanted.extended.mxcsr = mxcsr;
      }
      wanted.gpr[x86::rsp] = got.gpr[x86::rsp];
      auto text = difference(got, wanted, x86::arithmetic_flags & ~row.flags.undefined);
      text += pointer_difference(got, wanted, start, guest_rip);
      if (wanted_outcome != got_outcome)
        text +=
            fmt::format("outcome {} not {}\n", static_cast<int>(got_outcome), static_cast<int>(wanted_outcome));
      if (std::memcmp(guest_data, native.data().data(), data_size) != 0) text += "memory differs\n";
      if (text.empty()) continue;
      row_failures++;
      if (++failures > 40) continue;
      auto hex = std::string{};
      for (auto const byte : code) hex += fmt::format("{:02x} ", byte);
      ADD_FAILURE() << x86::disassemble(insn) << "   " << hex << "\n" << text;
    }
  }
  fmt::print("{} cases\n", ran);
  EXPECT_EQ(failures, 0);
}

/// Only eight registers are reached.
bool differs_in_32(Operation o) {
  return privileged(o) || saves(o) || restores(o) || o == Operation::vzeroall || o == Operation::vzeroupper;
}
bool same_registers(Instruction const& a, Instruction const& b) {
  return std::equal(a.operands.begin(), a.operands.end(), b.operands.begin(), [](auto const& x, auto const& y) {
    return x.kind == y.kind && x.size == y.size && (x.kind == x86::OperandKind::immediate || x.reg == y.reg);
  });
}

/// 32-bit code has no host to compare with here, but bytes that mean the same in 64-bit code must do the same.
void compare_with_64(u64 seed, int cases_per_row) {
  auto narrow = GuestRunner{}, wide = GuestRunner{};
  enter_flat32(narrow.cpu);
  narrow.cpu.state.cr0 &= ~u64{x86::cr0_pg};
  narrow.cpu.state.efer = 0;
  narrow.cpu.update_mode();
  auto sampler = x86::Sampler{seed};
  auto randomiser = Randomiser{sampler};
  auto* const narrow_data = narrow.cpu.mmu.host(data_start, true);
  auto* const wide_data = wide.cpu.mmu.host(data_start, true);
  auto ran = 0;
  for (auto const& row : x86::table()) {
    if (row.family != x86::Family::vector || differs_in_32(row.operation)) continue;
    for (auto i = 0; i < cases_per_row; i++) {
      auto const bytes = sampler.sample(row, x86::CodeSize::bits32);
      Instruction insn, same;
      if (x86::decode(bytes, x86::CodeSize::bits32, true, insn) != x86::DecodeStatus::ok ||
          !host_supports(insn))
        continue;
      if (x86::decode(bytes, x86::CodeSize::bits64, true, same) != x86::DecodeStatus::ok) continue;
      if (same.row != insn.row || same.length != insn.length || same.memory.rip_relative ||
          insn.address_size != 4 || !same_registers(insn, same))
        continue;
      if (insn.memory.segment == x86::SegmentRegister::cs) continue;  // not writable in 32-bit code
      auto start = randomiser.registers(false);
      for (auto& gpr : start.gpr) gpr = static_cast<u32>(gpr);
      start.extended.fip = start.extended.fdp = 0;
      same.address_size = 8;  // to aim; the address fits
      if (!aim(same, start, sampler) && insn.operand_count != 0 && insn.has_modrm && insn.modrm < 0xc0)
        continue;
      for (auto& gpr : start.gpr) gpr = static_cast<u32>(gpr);
      auto const area = std::span{narrow_data, data_size};
      randomiser.fill(area);
      std::memcpy(wide_data, narrow_data, data_size);
      auto got = start, wanted = start;
      auto const code = std::span{bytes}.first(insn.length);
      narrow.cpu.state.rip = wide.cpu.state.rip = guest_rip;
      auto const got_outcome = narrow.run(code, got);
      auto const wanted_outcome = wide.run(code, wanted);
      if (wanted_outcome != Outcome::done) continue;  // addresses wrap differently
      ran++;
      wanted.extended.fdp = static_cast<u32>(wanted.extended.fdp);
      auto text = difference(got, wanted, x86::arithmetic_flags & ~row.flags.undefined);
      if (got_outcome != wanted_outcome) text += "outcome\n";
      if (std::memcmp(narrow_data, wide_data, data_size) != 0) text += "memory\n";
      EXPECT_EQ(text, "") << x86::disassemble(insn) << " / " << x86::disassemble(same);
    }
  }
  fmt::print("{} cases\n", ran);
}

TEST(VectorDifferential, Code32DoesWhatTheSameBytesDoIn64) { compare_with_64(3, 10); }

/// Whatever a guest's bytes are, they end in a result or a fault.
TEST(VectorDifferential, SurvivesAnyEncodingInAnyMode) {
  auto guest = GuestRunner{};
  auto sampler = x86::Sampler{4};
  auto randomiser = Randomiser{sampler};
  auto outcomes = std::array<int, 5>{};
  for (auto const code_size : {x86::CodeSize::bits16, x86::CodeSize::bits32, x86::CodeSize::bits64}) {
    if (code_size != x86::CodeSize::bits64) {
      enter_flat32(guest.cpu);
      guest.cpu.state.cr0 &= ~u64{x86::cr0_pg};
      guest.cpu.state.efer = 0;
      if (code_size == x86::CodeSize::bits16) guest.cpu.state.cs().attributes = 0x809b;
    } else {
      enter_flat64(guest.cpu, guest.machine);
    }
    guest.cpu.update_mode();
    for (auto const& row : x86::table()) {
      if (row.family != x86::Family::vector) continue;
      for (auto i = 0; i < 6; i++) {
        auto const bytes = sampler.sample(row, code_size);
        Instruction insn;
        if (x86::decode(bytes, code_size, true, insn) != x86::DecodeStatus::ok) continue;
        if (x86::row_of(insn).family != x86::Family::vector) continue;
        auto registers = randomiser.registers(sampler.one_in(2));
        outcomes[static_cast<std::size_t>(guest.run(std::span{bytes}.first(insn.length), registers))]++;
      }
    }
  }
  EXPECT_GT(outcomes[static_cast<std::size_t>(Outcome::done)], 1000);
}

TEST(VectorDifferential, AgreesWithTheHostWithExceptionsMasked) { compare(1, 24, false); }
TEST(VectorDifferential, AgreesWithTheHostWithExceptionsUnmasked) { compare(2, 24, true); }

}  // namespace
}  // namespace vireo::engine::soft::vector
