#pragma once

#include "engine/soft/interp/random_blocks/elements.h"

namespace vireo::engine::soft::differential {

/// Draws programs with control flow: forward branches, loops that end, subroutines, indirect jumps and calls.
class BlockGenerator : private Elements {
 public:
  BlockGenerator(u64 seed, x86::CodeSize code_size, x86::CpuidModel const& model)
      : Elements{seed, code_size, model} {}

  static constexpr u64 longest_program{4000};  // bytes

  Program next(u64 at);
  /// Other values to start the same program with.
  Registers other_registers(Program const& program);
  using Values::scratch;

 private:
  enum class Return : u8 { plain, with_argument, by_jump, through_stack };
  struct Subroutine {
    Label label;
    Return way{};
    u32 reserved{};  // by all who call
  };
  /// Something that counts down.
  struct Counter {
    bool in_memory{};
    u8 reg{};
    Place at{};
  };

  bool try_program(Program& program);
  void body(u32 depth, u64 most);
  void construct(u32 depth);
  void if_then(u32 depth);
  void if_else(u32 depth);
  void loop(u32 depth);
  void loop_by_rcx(u32 depth);
  void frame(u32 depth);
  void call();
  void call_to(Subroutine const& target);
  void call_recursive();
  void call_over();
  void jump_indirect(u32 depth);
  void jump_table(u32 depth);
  void subroutines();
  void return_from(Return way);
  void advance_pointer();

  u64 counter_offset();
  Counter new_counter(u64 count);
  void count_down(Counter const& counter);
  Place slot();  // for an address

  u64 fuel_{};
  std::vector<Subroutine> subroutines_;
};

}  // namespace vireo::engine::soft::differential
