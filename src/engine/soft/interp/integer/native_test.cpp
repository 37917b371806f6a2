// Compares integer instructions with the host's own processor, flags that the SDM leaves undefined included.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

#include "engine/soft/interp/run_loop.h"
#include "engine/soft/test_machine.h"
#include "x86/decoder.h"
#include "x86/sampler.h"
#include "x86/table.h"

namespace vireo::engine::soft {
namespace {

using x86::CodeSize;
using x86::Instruction;
using x86::OperandKind;
using x86::Operation;

constexpr u64 code_at{0x200000};
constexpr u64 window_at{0x800000};  // the same address in the guest and here
constexpr u64 window_bytes{0x20000};
constexpr u64 middle{window_at + window_bytes / 2};

/// Runs one instruction on this processor with all registers and the arithmetic flags given, in 64-bit mode or,
/// by way of Linux's 32-bit code segment, in compatibility mode.
class Native {
 public:
  struct Registers {
    std::array<u64, 16> gpr{};
    u64 rflags{};
    u64 host_rsp{};
  };

  Native() {
    // SOUND: fresh mappings; the window's address is free or the mapping fails.
    code_ = static_cast<u8*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
    window_ = static_cast<u8*>(mmap(reinterpret_cast<void*>(window_at), window_bytes, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
  }
  ~Native() {
    munmap(code_, 8192);
    if (usable()) munmap(window_, window_bytes);
  }
  bool usable() const { return code_ != MAP_FAILED && window_ != MAP_FAILED; }
  u8* window() { return window_; }

  void run(Instruction const& insn, Registers& registers) {
    size_ = 0;
    // SOUND: the second page of the code mapping.
    auto* const state = reinterpret_cast<Registers*>(code_ + 4096);
    *state = registers;
    for (auto const reg : {3, 5, 12, 13, 14, 15}) push(reg);
    move(0x89, 4, offsetof(Registers, host_rsp), true);
    if (insn.code_size == CodeSize::bits64)
      body64(insn);
    else
      body32(insn);
    move(0x8b, 4, offsetof(Registers, host_rsp), true);
    emit({0xfc});  // cld
    for (auto const reg : {15, 14, 13, 12, 5, 3}) pop(reg);
    emit({0xc3});
    // SOUND: the code above keeps the ABI: callee-saved registers, stack pointer and DF are restored.
    reinterpret_cast<void (*)()>(code_)();
    registers = *state;
  }

 private:
  void body64(Instruction const& insn) {
    emit({0xff, 0x35});  // push [rflags]
    emit_distance(offsetof(Registers, rflags));
    emit({0x9d});  // popfq
    for (auto const reg : {0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 4}) {
      move(0x8b, reg, static_cast<u64>(reg) * 8, true);
    }
    for (auto i = 0u; i < insn.length; ++i) emit({insn.bytes[i]});
    move(0x89, 4, 4 * 8, true);
    move(0x8b, 4, offsetof(Registers, host_rsp), true);
    for (auto reg = 0; reg < 16; ++reg) {
      if (reg != 4) move(0x89, reg, static_cast<u64>(reg) * 8, true);
    }
    emit({0x9c, 0x8f, 0x05});  // pushfq; pop [rflags]
    emit_distance(offsetof(Registers, rflags));
  }
  void body32(Instruction const& insn) {
    emit({0xb8, 0x2b, 0, 0, 0, 0x8e, 0xd8, 0x8e, 0xc0});  // mov eax, 2bh; mov ds, eax; mov es, eax
    emit({0x6a, 0x23, 0x68});                             // push 23h; push target; retfq
    emit_address(size_ + 6);
    emit({0x48, 0xcb});
    emit({0xbc});  // mov esp, &rflags; popfd
    emit_address(4096 + offsetof(Registers, rflags));
    emit({0x9d});
    for (auto const reg : {0, 1, 2, 3, 5, 6, 7, 4}) move(0x8b, reg, static_cast<u64>(reg) * 8, false);
    for (auto i = 0u; i < insn.length; ++i) emit({insn.bytes[i]});
    move(0x89, 4, 4 * 8, false);
    emit({0xbc});  // mov esp, &rflags + 4; pushfd
    emit_address(4096 + offsetof(Registers, rflags) + 4);
    emit({0x9c});
    for (auto const reg : {0, 1, 2, 3, 5, 6, 7}) move(0x89, reg, static_cast<u64>(reg) * 8, false);
    emit({0xea});  // jmp 33h:next
    emit_address(size_ + 6);
    emit({0x33, 0});
  }

  void emit(std::initializer_list<u8> bytes) {
    for (auto const byte : bytes) code_[size_++] = byte;
  }
  void emit_u32(u64 value) {
    store_le<u32>(code_ + size_, static_cast<u32>(value));
    size_ += 4;
  }
  void emit_distance(u64 field) { emit_u32(4096 + field - (size_ + 4)); }
  // SOUND: the mapping lies below 2 GiB.
  void emit_address(u64 offset) { emit_u32(reinterpret_cast<u64>(code_) + offset); }
  void move(u8 opcode, int reg, u64 field, bool is64) {
    if (is64) emit({static_cast<u8>(0x48 | (reg >> 3) << 2)});
    emit({opcode, static_cast<u8>(5 | (reg & 7) << 3)});
    if (is64)
      emit_distance(field);
    else
      emit_address(4096 + field);
  }
  void push(int reg) { emit({static_cast<u8>(0x40 | reg >> 3), static_cast<u8>(0x50 | (reg & 7))}); }
  void pop(int reg) { emit({static_cast<u8>(0x40 | reg >> 3), static_cast<u8>(0x58 | (reg & 7))}); }

  u8* code_{};
  u8* window_{};
  std::size_t size_{};
};

bool runs_here(Operation operation) {
  using enum Operation;
  switch (operation) {
    case jcc:
    case jcxz:
    case loop:
    case loope:
    case loopne:
    case jmp_near:
    case call_near:
    case ret_near:
    case enter:
    case ud0:
    case ud1:
    case ud2:
    case rdrand:
    case rdseed:
    case popf:
    case pushf: return false;
    default: return true;
  }
}
bool is_string(Operation operation) {
  using enum Operation;
  return operation == movs || operation == cmps || operation == stos || operation == lods || operation == scas;
}
bool is_bit_test(Operation operation) {
  using enum Operation;
  return operation == bt || operation == bts || operation == btr || operation == btc;
}

/// Rotations by immediates, where processors differ from counts in CL, and decimal arithmetic, which 64-bit
/// hosts lack.
bool computes_undefined_flags(Instruction const& insn) {
  if (insn.map != 0) return false;
  constexpr u8 opcodes[]{0xc0, 0xc1, 0x27, 0x2f, 0x37, 0x3f, 0xd4, 0xd5};
  return std::ranges::find(opcodes, insn.opcode) != std::end(opcodes);
}

u64 interesting(x86::Sampler& random) {
  constexpr u64 edges[]{0,
                        1,
                        2,
                        0x7f,
                        0x80,
                        0xff,
                        0x7fff,
                        0x8000,
                        0xffff,
                        0x7fffffff,
                        0x80000000,
                        0xffffffff,
                        0x7fffffffffffffff,
                        0x8000000000000000,
                        ~u64{0}};
  auto const value = random.number();
  if (random.one_in(3)) return edges[random.below(std::size(edges))];
  return random.one_in(3) ? value >> random.below(64) : value;
}

/// Registers such that every access of `insn` lies in the window, or false.
bool choose_registers(Instruction const& insn, x86::Sampler& random, Native::Registers& registers) {
  auto const is64 = insn.code_size == CodeSize::bits64;
  for (auto& reg : registers.gpr) reg = is64 ? interesting(random) : static_cast<u32>(interesting(random));
  if (!is64) std::fill(registers.gpr.begin() + 8, registers.gpr.end(), 0);
  registers.rflags = 0x202 | (random.number() & (x86::arithmetic_flags | x86::flag_df));
  registers.gpr[x86::rsp] = middle + random.below(64);
  registers.gpr[x86::rbp] = insn.operation == Operation::leave ? middle + 128 : registers.gpr[x86::rbp];
  if (is_string(insn.operation)) {
    registers.gpr[x86::rsi] = middle + random.below(8192);
    registers.gpr[x86::rdi] = middle + random.below(8192);
    registers.gpr[x86::rcx] = random.below(40) * (random.one_in(4) ? 40 : 1);
    return insn.address_size == (is64 ? 8 : 4) && insn.memory.segment < x86::SegmentRegister::fs;
  }
  auto const memory =
      std::ranges::any_of(insn.operands, [](auto const& o) { return o.kind == OperandKind::memory; });
  if (!memory || insn.operation == Operation::lea) return !insn.memory.rip_relative;
  auto const& m = insn.memory;
  if (m.segment >= x86::SegmentRegister::fs || m.base == x86::no_register || m.rip_relative ||
      m.base == x86::rsp)
    return false;
  if (m.index == m.base || insn.address_size < (is64 ? 8 : 4)) return false;
  if (m.index != x86::no_register) registers.gpr[m.index] = random.below(256);
  if (insn.operation == Operation::xlat) registers.gpr[x86::rax] &= 0xff;
  auto const index = m.index != x86::no_register ? registers.gpr[m.index] * m.scale : 0;
  registers.gpr[m.base] = (middle & ~u64{4095}) + random.below(8192) - index - static_cast<u64>(m.displacement);
  if (!is64) registers.gpr[m.base] &= 0xffffffff;
  if (insn.operation == Operation::cmpxchg16b)
    registers.gpr[m.base] -= (registers.gpr[m.base] + index + static_cast<u64>(m.displacement)) % 16;
  if (is_bit_test(insn.operation) && insn.operands[1].kind == OperandKind::gpr) {
    auto const bit = insn.operands[1].reg;
    if (bit == m.base || bit == m.index) return false;
    registers.gpr[bit] = random.below(0x8000) - 0x4000;
    if (!is64) registers.gpr[bit] &= 0xffffffff;
  }
  return true;
}

std::string report(Instruction const& insn, Native::Registers const& before, Native::Registers const& native,
                   Cpu const& cpu) {
  auto text = fmt::format("{}  [", x86::disassemble(insn, code_at));
  for (auto i = 0u; i < insn.length; ++i) text += fmt::format("{:02x} ", insn.bytes[i]);
  text += fmt::format("] length {}\nflags before {:x} native {:x} guest {:x}\n", insn.length, before.rflags,
                      native.rflags, cpu.state.rflags);
  for (auto i = 0u; i < 16; ++i) {
    text += fmt::format("r{:<2} before {:016x} native {:016x} guest {:016x}{}\n", i, before.gpr[i],
                        native.gpr[i], cpu.state.gpr[i], native.gpr[i] != cpu.state.gpr[i] ? "  <--" : "");
  }
  return text;
}

void compare_with_host(CodeSize code_size) {
  constexpr auto defined = u64{x86::arithmetic_flags | x86::flag_df};
  auto const per_row = std::getenv("VIREO_NATIVE_CASES") ? std::atoi(std::getenv("VIREO_NATIVE_CASES")) : 300;
  auto const model = x86::CpuidModel::create("x86-64-v3", 1).value();
  auto machine = TestMachine{};
  auto cpu = Cpu{VcpuId{0}, machine, model};
  auto interpreter = Interpreter{};
  auto native = Native{};
  auto random = x86::Sampler{20261122};
  if (code_size == CodeSize::bits64)
    enter_flat64(cpu, machine);
  else
    enter_flat32(cpu);
  ASSERT_TRUE(native.usable());
  auto* const window = machine.memory().host(Gpa{window_at}, window_bytes, true);
  for (auto i = u64{}; i < window_bytes; ++i) native.window()[i] = static_cast<u8>(random.number());
  std::memcpy(window, native.window(), window_bytes);

  auto compared = 0u;
  for (auto const& row : x86::table()) {
    if (row.family != x86::Family::integer || !runs_here(row.operation)) continue;
    for (auto i = 0; i < per_row; ++i) {
      auto const bytes = random.sample(row, code_size);
      auto insn = Instruction{};
      if (x86::decode(bytes, code_size, true, insn) != x86::DecodeStatus::ok) continue;
      if (row_of(insn).family != x86::Family::integer || !runs_here(insn.operation)) continue;
      auto before = Native::Registers{};
      if (!choose_registers(insn, random, before)) continue;

      for (auto b = 0u; b < insn.length; ++b) machine.store<u8>(code_at + b, insn.bytes[b]);
      auto const system_state = cpu.state;
      cpu.state.gpr = before.gpr;
      cpu.state.rflags = before.rflags;
      cpu.state.rip = code_at;
      auto exit = interpreter.step(cpu);
      while (exit == RunExit::budget && cpu.state.rip == code_at) exit = interpreter.step(cpu);
      if (exit == RunExit::shutdown) {  // #DE, #UD, #BR: tested elsewhere
        cpu.state = system_state;
        cpu.update_mode();
        continue;
      }

      auto after = before;
      native.run(insn, after);
      ++compared;
      ASSERT_EQ(cpu.state.rip, code_at + insn.length) << report(insn, before, after, cpu);
      ASSERT_EQ(after.gpr, cpu.state.gpr) << report(insn, before, after, cpu);
      auto const seen = computes_undefined_flags(insn) ? defined & ~u64{row.flags.undefined} : defined;
      ASSERT_EQ(after.rflags & seen, cpu.state.rflags & seen) << report(insn, before, after, cpu);
      ASSERT_EQ(std::memcmp(window, native.window(), window_bytes), 0) << report(insn, before, after, cpu);
    }
  }
  EXPECT_GT(compared, 10'000u);
}

TEST(Native, IntegerInstructionsDoWhatTheHostsProcessorDoes) { compare_with_host(CodeSize::bits64); }
TEST(Native, IntegerInstructionsOf32BitCodeDoWhatTheHostsProcessorDoes) { compare_with_host(CodeSize::bits32); }

}  // namespace
}  // namespace vireo::engine::soft
