#pragma once

#include <span>

#include "engine/soft/interp/differential_values.h"
#include "x86/cpuid_model.h"

namespace vireo::engine::soft::differential {

/// Draws programs from the instruction table: user-mode instructions of 64-bit or 32-bit code that the model
/// offers, with random and edge values in registers, and operands in memory that mostly lie in the scratch
/// area.
class Generator : private Values {
 public:
  Generator(u64 seed, x86::CodeSize code_size, x86::CpuidModel const& model);

  Program next(u64 at);
  using Values::scratch;
  std::vector<x86::Row const*> rows() const;  // what it draws from

 private:
  using Instruction = x86::Instruction;

  bool add_element(Program& program);
  bool draw(Instruction& insn);
  bool suits(Instruction const& insn, u32 undefined_flags) const;
  void prepare_operands(Instruction& insn);
  u64 distance_from_reachable(Instruction const& insn, u64 target) const;
  void place_memory(Instruction& insn, u64 target);
  void prepare_string(Instruction const& insn);
  void prepare_stack(Instruction const& insn);
  void prepare_gather(Instruction const& insn);
  void clear_upper_pointers(u64 image);
  void aim_branch(Instruction& insn);
  void aim_indirect_branch(Instruction& insn);
  void patch(Instruction& insn, unsigned offset, u64 value, unsigned bytes);
  u64 target_for(Instruction const& insn);

  void emit(std::initializer_list<unsigned> bytes);
  void emit_le(u64 value, unsigned bytes);
  void emit_mov(u8 reg, u64 value, bool narrow = false);

  unsigned mov_bytes() const { return code64() ? 10 : code16() ? 6 : 5; }
  bool decode(std::span<u8 const> bytes, Instruction& insn) const;

  std::vector<x86::Row const*> integer_, vector_;
  std::vector<u8> prelude_;  // moves before the instruction being made
  u64 here_{};               // address of prelude_
};

}  // namespace vireo::engine::soft::differential
