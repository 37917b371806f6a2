#pragma once

#include "engine/soft/code_memory.h"
#include "engine/soft/test_machine.h"
#include "x86/decoder.h"

namespace vireo::engine::soft::vector {

/// Where the instruction's memory operand lies: at the same address in the guest and, for the native run, in
/// this process.
inline constexpr u64 data_start{0x80'0000};
inline constexpr u64 data_size{0x4000};

/// Registers, flags and extended state before and after one instruction.
struct Registers {
  std::array<u64, 16> gpr{};
  u64 rflags{x86::flag_fixed};
  ExtendedState extended{};
};

enum class Outcome : u8 { done, floating_point /* #XM or #MF */, memory /* #GP or #PF */, undefined, other };

/// Executes instructions on the host's own processor, with every register but RSP set.
class NativeRunner {
 public:
  NativeRunner();
  ~NativeRunner();
  NativeRunner(NativeRunner const&) = delete;
  NativeRunner& operator=(NativeRunner const&) = delete;

  Outcome run(std::span<u8 const> instruction, Registers& registers);
  std::span<std::byte> data() { return {data_, data_size}; }

 private:
  CodeMemory memory_{1024 * 1024};
  CodeMemory::Slot slot_{};
  Registers* exchange_{};  // below 2 GiB: the code reaches it by absolute address
  std::byte* data_{};
};

/// The same on the interpreter, in 64-bit mode at CPL 0.
class GuestRunner {
 public:
  GuestRunner();
  Outcome run(std::span<u8 const> instruction, Registers& registers);

  u64 address_of(x86::Instruction const& insn, Registers const& registers) {
    cpu.state.gpr = registers.gpr;
    return cpu.effective_address(insn);
  }
  /// Decodes and executes; lets the Fault out.
  void step(std::span<u8 const> instruction);

  TestMachine machine;
  x86::CpuidModel model;
  Cpu cpu;
};

}  // namespace vireo::engine::soft::vector
