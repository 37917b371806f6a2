#pragma once

#include <vector>

#include "engine/soft/interp/differential_values.h"
#include "engine/soft/interp/random_blocks/assembler.h"
#include "x86/cpuid_model.h"

namespace vireo::engine::soft::differential {

/// What stands between the branches of a random program. Each element leaves the stack as it was, keeps away
/// from reserved registers, and leaves all arithmetic flags but AF defined.
class Elements : protected Values {
 public:
  Elements(u64 seed, x86::CodeSize code_size, x86::CpuidModel const& model);

 protected:
  using Row = x86::Row;
  using Label = Assembler::Label;
  struct Pointer {
    u8 reg{};
    u64 address{};  // as long as no loop moves it
  };
  struct Zone {
    u64 begin{}, end{};  // offsets in the scratch area
  };

  void begin_program(u64 at, bool modifies_itself);
  void element();

  // ---- elements.cpp: registers and places ----
  u8 data_register();  // to be written
  bool is_data(u8 reg) const { return reg < registers_end() && !(reserved_ >> reg & 1); }
  u8 any_register() { return static_cast<u8>(random_.below(registers_end())); }
  Gpr byte_register(bool data, bool may_be_high);
  Gpr register_of(u8 width, bool data, bool may_be_high = false);
  u8 width();
  u8 wide() { return code64() ? 8 : 4; }  // of the stack and of pointers
  u8 registers_end() const { return code64() ? 16 : 8; }
  u64 free_offset(u64 before, u64 after);
  Place place(u32 size, bool store, u32 alignment = 1);
  Place place_at(Pointer const& chosen, u32 size, u32 alignment);
  Place place_at_pointer(u32 size, u32 alignment) { return place_at(pointer(), size, alignment); }
  Pointer& pointer() { return pointers_[random_.below(2)]; }
  void seat(Pointer& pointer);
  static bool needs_rex(Place const& at) {
    return (at.base != x86::no_register && at.base >= 8) || (at.index != x86::no_register && at.index >= 8);
  }
  u8 condition() { return static_cast<u8>(random_.below(16)); }
  u64 immediate(u8 width);

  // ---- elements_integer.cpp ----
  void arithmetic();
  void arithmetic_on(Place const& at, u8 width);
  void move();
  void one_operand();
  void shift();
  void multiply_or_divide();
  void carry_chain();
  void compare_then_use();
  void bits();
  void exchange();
  void one_base_many_offsets();
  void define_flags();
  void use_condition();

  // ---- elements_stack.cpp ----
  void push_one(u8 width);
  void pop_one(u8 width);
  void pushes_and_pops();
  void stack_elsewhere();
  void stack_pointer_as_operand();
  void flags_through_stack();
  void string();

  // ---- elements_sampled.cpp ----
  void sampled();
  bool suits(x86::Instruction const& insn) const;
  bool emit_with_pointer(x86::Instruction const& insn);
  void patch_code();
  void fault();

  Assembler a_{true, 0};
  u32 reserved_{};  // a bit per register
  std::array<Pointer, 2> pointers_{};
  u64 stack_top_{};
  std::vector<Zone> zones_;  // not for random accesses
  bool modifies_itself_{};
  bool may_fault_{};
  std::vector<Label> patchable_;  // 32-bit immediates in the code

 private:
  std::vector<Row const*> integer_, vector_;
};

/// Marks a register as not to be written for a while.
class Reserved {
 public:
  Reserved(u32& mask, u8 reg) : mask_{mask}, before_{mask} { mask_ |= 1u << reg; }
  ~Reserved() { mask_ = before_; }
  Reserved(Reserved const&) = delete;
  Reserved& operator=(Reserved const&) = delete;

 private:
  u32& mask_;
  u32 before_;
};

}  // namespace vireo::engine::soft::differential
